"""Sweeps from a file: each row of `parameter.csv` is a run; its scores go to `results.csv`."""

import csv
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mnist_lab import keras
from mnist_lab.data import Digits, check_digits, cut_digits
from mnist_lab.errors import LabError
from mnist_lab.files import lock, read_text, replace_file
from mnist_lab.studies.study import Study, run_study

SETTINGS = ("loss_function", "optimizer", "batch_size", "kernel_size", "epochs")
SCORES = ("loss", "accuracy")
SEED = 0  # a row names none
MOST_EPOCHS = 10_000


def sweep(
    parameters: str | Path,
    results: str | Path,
    build: Callable,
    digits: Digits,
    *,
    train_size: int | None = None,
    workers: int | None = None,
) -> pd.DataFrame:
    """Run one training for each row of a file, and return its rows with their validation loss and accuracy.

    `parameters` names a CSV file with the columns loss_function, optimizer, batch_size, kernel_size and epochs, with or
    without a header. `build(loss_function, optimizer, kernel_size)` returns a compiled Keras model. The runs are those
    of a study, recorded in `img/sweep_<name of the file>.csv`; a row is trained again if its network or the data have
    changed. `results` is written after each run: the same columns, then loss and accuracy.

    Raises LabError, in one line and before anything is trained or written, for what is wrong in either file, naming it
    and the line, and where a row is missing that may not be trained.
    """
    parameters, results = Path(parameters), Path(results)
    check_digits(digits, "sweep")
    digits = cut_digits(digits, train_size)
    lines = _read_rows(parameters, len(digits.train), digits.train.x.shape[1])
    if results.exists() and not read_text(results).startswith(",".join([*SETTINGS, *SCORES])):
        raise LabError(f"{results}, line 1: must be {','.join([*SETTINGS, *SCORES])}, as sweep writes it")
    over = {", ".join(map(str, row)): dict(zip(SETTINGS, row, strict=True)) for row in lines}
    names = dict(zip(over, (f"{parameters}, line {line}" for line in lines.values()), strict=True))
    table = pd.DataFrame()

    def write_results(runs: dict) -> None:
        nonlocal table
        done = [(label, runs[label, SEED][0].iloc[-1]) for label in over if (label, SEED) in runs]
        rows = [[*over[label].values(), last["val_loss"], last["val_accuracy"]] for label, last in done]
        table = pd.DataFrame(rows, columns=[*SETTINGS, *SCORES])
        text = table.to_csv(index=False, lineterminator="\n", na_rep="nan")
        with lock(results):
            replace_file(results, lambda file: file.write(text.encode()))

    study = Study("sweep_" + re.sub(r"\W", "_", parameters.stem), build, {}, "row", over, seeds=(SEED,))
    try:
        run_study(study, digits, workers, names=names, after_run=write_results)
    except LabError as error:
        label = next((label for label in over if f"{error}".startswith(f"{names[label]}: build() raised")), None)
        largest = label and _find_largest_kernel(build, over[label])
        if not largest:
            raise
        found = f"(got {over[label]['kernel_size']})"
        raise LabError(f"{names[label]}: kernel_size must be an integer from 1 to {largest} {found}") from None
    return table


def _read_rows(path: Path, images: int, side: int) -> dict[tuple, int]:
    """The rows of a file, in the order of `SETTINGS`, with the line of each. Raises LabError for the first bad one."""
    try:
        text = read_text(path)
        separator = ";" if ";" in text and "," not in text else ","  # as some spreadsheets save it
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
        cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise LabError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    cells = [(line, row) for line, row in cells if any(row)]
    header = [*SETTINGS]
    if cells and {_plain(cell) for cell in cells[0][1]} & set(map(_plain, SETTINGS)):
        header = [next((name for name in SETTINGS if _plain(name) == _plain(cell)), cell) for cell in cells[0][1]]
        if sorted(header) != sorted(SETTINGS):
            raise LabError(
                f"{path}, line {cells[0][0]}: columns must be {', '.join(SETTINGS)} (got {', '.join(header)})"
            )
        cells = cells[1:]
    if not cells:
        raise LabError(f"{path}: no rows; a row has {', '.join(SETTINGS)}")
    rows: dict[tuple, int] = {}
    for line, row in cells:
        where = f"{path}, line {line}"
        if len(row) != len(header):
            raise LabError(
                f"{where}: a row must have {len(header)} values: {', '.join(header)} (got {','.join(row)!r})"
            )
        texts = dict(zip(header, row, strict=True))
        values = [_find_name(where, name, texts[name], names) for name, names in _list_names().items()]
        for name, most in (("batch_size", images), ("kernel_size", side), ("epochs", MOST_EPOCHS)):
            if not re.fullmatch("[0-9]{1,9}", texts[name]) or not 1 <= int(texts[name]) <= most:
                raise LabError(f"{where}: {name} must be an integer from 1 to {most} (got {texts[name]!r})")
            values.append(int(texts[name]))
        if rows.setdefault(tuple(values), line) != line:
            raise LabError(f"{where}: the same run as line {rows[tuple(values)]}; keep one of them")
    return rows


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()


def _list_names() -> dict[str, list[str]]:
    """The names of Keras's losses for one-hot labels, and of its optimizers that wrap no other."""
    functions = {name: loss for name, loss in vars(keras.losses).items() if inspect.isfunction(loss)}
    losses = [name for name, loss in functions.items() if "y_true" in inspect.signature(loss).parameters]
    return {
        "loss_function": sorted(name for name in losses if not name.startswith(("sparse", "ctc", "circle"))),
        "optimizer": sorted(name for name in vars(keras.optimizers) if name[0].isupper() and "Optimizer" not in name),
    }


def _find_name(where: str, column: str, text: str, names: list[str]) -> str:
    found = next((name for name in names if _plain(name) == _plain(text)), None)
    if not found:
        raise LabError(f"{where}: {column} must be one of {', '.join(names)} (got {text!r})")
    return found


def _find_largest_kernel(build: Callable, settings: dict) -> int | None:
    """The largest kernel size below that of a row with which the network can be built."""
    given = {name: settings[name] for name in inspect.signature(build).parameters if name in settings}
    for size in range(settings["kernel_size"] - 1, 0, -1):
        try:
            build(**given | {"kernel_size": size})
        except Exception:
            continue
        return size
    return None
