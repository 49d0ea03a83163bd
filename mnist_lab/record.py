"""The record: one CSV a study, a row a run and epoch; and the key that recognises a run.

A file is always replaced as a whole, so that a kill at any moment leaves the old one or the new one, never a torn one.
"""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from mnist_lab.data import Digits
from mnist_lab.errors import LabError

TEXT = ["key", "value"]
WHOLE = ["seed", "epoch"]
SCORES = ["loss", "accuracy", "val_loss", "val_accuracy", "clean_loss", "clean_accuracy", "test_loss", "test_accuracy"]
COLUMNS = [*TEXT, *WHOLE, *SCORES, "seconds"]
MACHINE = "machine"  # versions and CPU, on the last row of a run: where it stands, the run is whole
# Keras's own fractions, recorded as such and told in percent; what another metric's unit is, nobody knows
ACCURACIES = ("", "binary_", "categorical_", "sparse_categorical_", "top_k_categorical_", "sparse_top_k_categorical_")
MEND = "mend the line, or delete the run to have it trained again"


def find_folder() -> Path:
    """The `img` folder of the project that the current folder is in; else one to make, beside `notebooks` or here."""
    here = Path.cwd()
    upwards = (here, *here.parents)
    beside = (up.parent for up in upwards if up.name == "notebooks")
    project = next((up for up in upwards if (up / "img").is_dir()), next(beside, here))
    return Path(os.path.relpath(project / "img"))


def is_accuracy(column: str) -> bool:
    """Whether a column holds one of Keras's accuracies, a fraction of images."""
    return column.removeprefix("val_").removeprefix("clean_").removeprefix("test_") in {
        f"{a}accuracy" for a in ACCURACIES
    }


def digest_data(digits: Digits) -> str:
    """A hash of all three splits: their shapes, kinds and bytes."""
    digest = hashlib.sha256()
    for split in (digits.train, digits.val, digits.test):
        for array in (split.x, split.y):
            digest.update(f"{array.shape}{array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def make_key(**decides) -> str:
    """The key of a run: a hash of all that decides its outcome, in plain data."""
    text = json.dumps(decides, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_text(path: Path) -> str:
    """The text of a file, without a byte-order mark. Raises LabError, naming the line, where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        wrong = error.object[error.start : error.start + 1]
        raise LabError(f"{path}, line {line}: the byte {wrong!r} is not UTF-8; save the file as UTF-8") from None


def read_record(path: Path) -> pd.DataFrame:
    """Read a record as written; an empty one where there is no file.

    Raises LabError naming file and line where a row cannot be understood.
    """
    return _parse(path, read_text(path)) if path.exists() else pd.DataFrame(columns=[*COLUMNS, MACHINE])


def _parse(path: Path, text: str) -> pd.DataFrame:
    try:
        header, *lines = [*csv.reader(io.StringIO(text, newline=""), strict=True)] or [[]]
    except csv.Error as error:
        raise LabError(f"{path}: cannot be read as a record ({error})") from None
    if len(set(header)) < len(header):
        raise LabError(f"{path}, line 1: a column stands twice")
    missing = [column for column in [*COLUMNS, MACHINE] if column not in header]
    if missing:
        raise LabError(f"{path}, line 1: no column {', '.join(missing)}; a record has {', '.join(COLUMNS)}, {MACHINE}")
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise LabError(f"{path}, line {number}: {len(line)} values, but {len(header)} columns; {MEND}")
    rows = pd.DataFrame(lines, columns=header, dtype=str)
    _refuse(path, rows, ~rows["key"].str.fullmatch("[0-9a-f]{16}"), "key is not 16 hexadecimal digits")
    for column in rows.columns.difference([*TEXT, MACHINE]):
        kind = "a whole number" if column in WHOLE else "a number"
        empty = (rows[column] == "") & column.startswith("test_")
        pattern = "[0-9]{1,18}" if column in WHOLE else r"-?([0-9]+\.?[0-9]*([eE][-+]?[0-9]{1,2})?|inf)|nan"
        _refuse(path, rows, ~(rows[column].str.fullmatch(pattern) | empty), f"{column} is not {kind}", column)
        numbers = rows[column].astype(int) if column in WHOLE else rows[column].replace("", "nan").astype(float)
        if is_accuracy(column):
            _refuse(
                path, rows, ~(numbers.between(0, 1) | numbers.isna()), f"{column} is not a number from 0 to 1", column
            )
        rows[column] = numbers
    rows = rows.drop_duplicates()
    for column in ("value", "seed"):
        first = rows.groupby("key")[column].transform("first")
        _refuse(path, rows, rows[column] != first, f"{column} is another than in the lines before of this run", column)
    twice = rows.duplicated(["key", "epoch"])
    _refuse(path, rows, twice, "this epoch of this run stands there twice, with other numbers")
    return rows


def _refuse(path: Path, rows: pd.DataFrame, wrong: pd.Series, why: str, column: str | None = None) -> None:
    if wrong.any():
        line = wrong.idxmax()
        found = f": {rows.loc[line, column]!r}" if column else ""
        raise LabError(f"{path}, line {line + 2}: {why}{found}; {MEND}")


def find_run(rows: pd.DataFrame, key: str, epochs: int) -> pd.DataFrame | None:
    """The rows of the run with this key in order of epochs, or None where it is not there whole."""
    run = rows[rows["key"] == key].sort_values("epoch")
    whole = list(run["epoch"]) == list(range(1, epochs + 1)) and run[MACHINE].iloc[-1] != ""
    return run if whole else None


def read_probabilities(path: Path, split: str) -> dict[str, np.ndarray]:
    """The probabilities kept beside a record, in a file of the same name that ends in .npz: by key, `(n, 10)` float16.

    Raises LabError where the file is damaged.
    """
    arrays = _read_arrays(path.with_suffix(".npz"))
    return {name.split("_")[0]: array for name, array in arrays.items() if name.endswith(f"_{split}")}


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a damaged archive raises of every kind
        raise LabError(f"{file}: cannot be read ({error}); delete it to have its runs trained again") from None


def write_probabilities(path: Path, split: str, by_key: dict[str, np.ndarray], keep: list[str] | None = None) -> None:
    """Add probabilities to those kept beside a record. With `keep`, a list of keys, only these are left, in order."""
    file = path.with_suffix(".npz")
    with lock(file):
        kept = _read_arrays(file) | {f"{key}_{split}": array for key, array in by_key.items()}
        names = sorted(kept) if keep is None else [f"{key}_{split}" for key in keep]
        replace_file(file, lambda new: np.savez_compressed(new, **{name: kept[name] for name in names}))


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file. Raises LabError where its folder cannot be written."""
    try:
        path.parent.mkdir(exist_ok=True)
        held = FileLock(path.with_name(f".{path.name}.lock")).acquire()
    except OSError as error:
        raise LabError(f"{path}: cannot be written ({error.strerror or error})") from None
    with held:
        yield


def check_writable(path: Path) -> None:
    """See, before anything is trained for it, that a file can be put there. Raises LabError if not."""
    try:
        path.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise LabError(f"{path}: cannot be written ({error.strerror}), so nothing is trained") from None


def replace_file(path: Path, write: Callable[[io.BufferedWriter], None]) -> None:
    """Put a file in the place of another, whole or not at all. Raises LabError where that cannot be."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    except OSError as error:  # a full disk; on Windows also a spreadsheet that has it open
        new.unlink(missing_ok=True)
        raise LabError(f"{path}: cannot be written ({error.strerror or error}); what it held is still there") from None


def write_runs(path: Path, runs: Iterable[pd.DataFrame], keep: list[str] | None = None) -> int:
    """Add whole runs to a record. `keep` lists the keys the record is to hold, in order; others are dropped.

    Returns how many runs were dropped.

    Safe against kills and against other writers: the file is read, merged and replaced under a lock. Raises LabError,
    and leaves the file as it was, where it could not be read again.
    """
    with lock(path):
        old = read_record(path)
        runs = list(runs)
        new_keys = {run["key"].iloc[0] for run in runs}
        parts = [old[~old["key"].isin(new_keys)], *runs]
        rows = pd.concat([part for part in parts if len(part)] or [old])  # pandas 2 warns of an empty table
        if keep is not None:
            place = {key: number for number, key in enumerate(keep)}
            rows = rows[rows["key"].isin(place)]
            rows = rows.sort_values(["key", "epoch"], key=lambda c: c.map(place) if c.name == "key" else c)
        extra = rows.columns.difference([*COLUMNS, MACHINE], sort=False)
        blank = [column for column in rows if column.startswith("test_")]  # before the last epoch
        told = [*SCORES, "seconds", *extra]
        rows = rows.assign(**{c: rows[c].astype(object).where(rows[c].notna(), "nan") for c in told if c not in blank})
        text = rows[[*COLUMNS, *extra, MACHINE]].to_csv(index=False, lineterminator="\n")
        try:
            _parse(path, text)
        except LabError as error:
            raise LabError(f"{path}: nothing was written, since it could not be read again: {error}") from None
        replace_file(path, lambda new: new.write(text.encode()))
    return 0 if keep is None else len(set(old["key"]) - set(keep))
