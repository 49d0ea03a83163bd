"""The record: one CSV file a study, one row per run and epoch; beside it the probabilities that a study keeps.

The last row of a run has its `machine`, and the `source` and `probe` by which identity.py finds it. A run without them
was cut short, and is trained again.
"""

import csv
import io
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_lab.errors import LabError
from mnist_lab.files import append_file, lock, read_text, replace_file

TEXT = ["key", "value"]
INTEGERS = ["seed", "epoch"]
SCORES = ["loss", "accuracy", "val_loss", "val_accuracy", "clean_loss", "clean_accuracy", "test_loss", "test_accuracy"]
COLUMNS = [*TEXT, *INTEGERS, *SCORES, "seconds"]
LAST_ROW = ["machine", "source", "probe"]
ACCURACY = "(val_|clean_|test_)?(binary_|(sparse_)?(top_k_)?categorical_)?accuracy"  # those of Keras
NUMBER = r"-?([0-9]+\.?[0-9]*([eE][-+]?[0-9]{1,2})?|inf)|nan"
REPAIR = "correct the line, or delete all lines of the run to train it again"

_known: dict[tuple, set[str]] = {}  # the keys in a record that this process wrote last, by path, header and size


def is_accuracy(column: str) -> bool:
    """Whether a column holds one of Keras's accuracies, a fraction of images; other metrics have units of their own."""
    return re.fullmatch(ACCURACY, column) is not None


def is_metric(column: str) -> bool:
    """Whether a column holds a loss, a metric or the seconds of an epoch."""
    return column not in (*TEXT, *INTEGERS, *LAST_ROW)


def read_record(path: Path | str, text: str | None = None) -> pd.DataFrame:
    """The rows of a record, numbers to the last bit; none where there is no file. What a spreadsheet saves is read.

    Raises LabError naming file, line and what was found where a row of it, or of `text`, cannot be understood.
    """
    if text is None and not path.exists():
        return pd.DataFrame(columns=[*COLUMNS, *LAST_ROW])
    text = read_text(path) if text is None else text
    try:
        header, *lines = [*csv.reader(io.StringIO(text, newline=""), strict=True)] or [[]]
    except csv.Error as error:
        raise LabError(f"{path}: not a record ({error})") from None
    if not set(header) >= {*COLUMNS, *LAST_ROW} or len(set(header)) < len(header):
        raise LabError(f"{path}, line 1: must name the columns {', '.join([*COLUMNS, *LAST_ROW])}, each once")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise LabError(f"{path}, line {number}: {len(line)} values for {len(header)} columns; {REPAIR}")
    rows = pd.DataFrame(lines, columns=header, dtype=str)

    def require(column: str, right: pd.Series, rule: str) -> None:
        if not right.all():
            line = right.idxmin()
            raise LabError(f"{path}, line {line + 2}: {column} must {rule} (got {str(rows[column][line])!r}); {REPAIR}")

    require("key", rows["key"].str.fullmatch("[0-9a-f]{16}"), "be 16 hexadecimal digits")
    for column in INTEGERS:
        require(column, rows[column].str.fullmatch("[0-9]{1,18}"), "be an integer")
        rows[column] = rows[column].astype(int)
    for column in filter(is_metric, rows):
        empty = (rows[column] == "") & column.startswith("test_")  # before the last epoch
        require(column, rows[column].str.fullmatch(NUMBER) | empty, "be a number")
        rows[column] = rows[column].replace("", "nan").astype(float)
        fraction = rows[column].between(0, 1) | rows[column].isna()
        require(column, fraction | (not is_accuracy(column)), "be a number from 0 to 1")
    rows = rows.drop_duplicates()
    for column in ("value", "seed"):
        first = rows.groupby("key")[column].transform("first")
        require(column, rows[column] == first, "be the same in all lines of a run")
    require("epoch", ~rows.duplicated(["key", "epoch"]), "appear once in a run")
    return rows


def split_runs(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs of a record by key, each in order of epochs."""
    return dict(iter(rows.sort_values("epoch", kind="stable").groupby("key", sort=False)))


def is_complete(run: pd.DataFrame) -> bool:
    """Whether no epoch of a run is missing, and its last row was written."""
    return [*run["epoch"]] == [*range(1, len(run) + 1)] and run["machine"].iloc[-1] != ""


def find_cpus(runs: Iterable[pd.DataFrame]) -> list[str]:
    """The kinds of CPU that trained these runs, which differ in their last bits."""
    return sorted({re.split(r"numpy [^,]+, ", run["machine"].iloc[-1])[-1] for run in runs})


def read_runs(path: Path, keep: str | None) -> list[tuple]:
    """The complete runs of a record, each with its probabilities for a split; without `keep`, with None."""
    probabilities = read_probabilities(path, keep) if keep else {}
    runs = [(run, probabilities.get(key)) for key, run in split_runs(read_record(path)).items() if is_complete(run)]
    return [(run, kept) for run, kept in runs if kept is not None or not keep]


def write_runs(path: Path, runs: Iterable[pd.DataFrame], only: bool = False) -> None:
    """Add runs to a record, in place of those with the same keys; with `only`, let it hold no others.

    Safe against kills and other writers. Raises LabError, and changes nothing, where a run could not be read again.
    """
    new = {run["key"].iloc[0]: run for run in runs}
    text = _format(*new.values())
    read_record(f"a run was not saved to {path}; its table", text)
    header, body = text.encode().split(b"\n", 1)
    with lock(path):
        size = path.stat().st_size if path.exists() else 0
        keys = _known.pop((path.resolve(), header, size), None)
        if keys is None and not only:  # of a record to which these rows can be appended as they are
            first, *lines = path.read_bytes().split(b"\n") if size else [b""]
            keys = {line[:16].decode("latin-1") for line in lines} if first == header and lines[-1:] == [b""] else None
        if only or keys is None or keys & new.keys():
            replace_file(path, (text if only else _format(*(split_runs(read_record(path)) | new).values())).encode())
        else:  # a long record is neither read nor written anew for each run
            append_file(path, body, size)
            _known[path.resolve(), header, size + len(body)] = keys | new.keys()


def _format(*runs: pd.DataFrame) -> str:
    rows = pd.concat(runs)
    others = rows.columns.difference([*COLUMNS, *LAST_ROW], sort=False)
    full = [c for c in filter(is_metric, rows) if not c.startswith("test_")]  # which are blank before the last epoch
    rows[full] = rows[full].astype(object).where(rows[full].notna(), "nan")
    return rows[[*COLUMNS, *others, *LAST_ROW]].to_csv(index=False, lineterminator="\n")


def read_probabilities(path: Path, split: str) -> dict[str, np.ndarray]:
    """The probabilities in the .npz beside a record, by key: `(n, 10)` float16. Raises LabError if it is damaged."""
    file, end = path.with_suffix(".npz"), f"_{split}"
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {name.removesuffix(end): arrays[name] for name in arrays if name.endswith(end)}
    except Exception as error:  # numpy, zipfile and zlib each raise their own
        raise LabError(f"{file}: cannot be read ({error}); delete it to train its runs again") from None


def find_sources(record: Path) -> Path:
    """The file, one for all records of a kind, that says what the sources in them are."""
    return record.with_name("sources.local.json" if record.name.endswith(".local.csv") else "sources.json")


def read_sources(record: Path) -> dict[str, dict]:
    """What is known of the sources in a record and its like. Nothing where that file is damaged."""
    with suppress(OSError, ValueError):
        return json.loads(find_sources(record).read_bytes())
    return {}


def write_sources(record: Path, study: str, descriptions: dict[str, dict]) -> None:
    """Add descriptions of a study's sources."""
    path, new = find_sources(record), {f"{s} {study}": {"study": study, **one} for s, one in descriptions.items()}
    with lock(path):
        sources = sorted((read_sources(record) | new).items(), key=lambda item: item[1]["study"])
        replace_file(path, f"{json.dumps(dict(sources), indent=1)}\n".encode())


def write_probabilities(path: Path, split: str, by_key: dict[str, np.ndarray], only: bool = False) -> None:
    """Add probabilities to those kept beside a record; with `only`, keep no others."""
    file = path.with_suffix(".npz")
    with lock(file):
        by_key = by_key if only else read_probabilities(path, split) | by_key
        np.savez_compressed(content := io.BytesIO(), **{f"{key}_{split}": array for key, array in by_key.items()})
        replace_file(file, content.getvalue())
