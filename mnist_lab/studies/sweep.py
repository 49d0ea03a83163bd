"""Sweeps from a file: each row of `parameter.csv` is a run; its scores go to `results.csv`."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mnist_lab import keras
from mnist_lab.data import Digits, check_digits
from mnist_lab.errors import LabError
from mnist_lab.files import lock, read_text, replace_file
from mnist_lab.studies.study import Study, run_steps

SETTINGS = ("loss_function", "optimizer", "batch_size", "kernel_size", "epochs")
COLUMNS = [*SETTINGS, "loss", "accuracy"]


def sweep(
    parameters: str | Path,
    results: str | Path,
    build: Callable,
    digits: Digits,
    *,
    workers: int | None = None,
    max_minutes: float = 10,
) -> pd.DataFrame:
    """Run one training for each row of a file, and return its rows with their validation loss and accuracy.

    `parameters` names a CSV file with the columns loss_function, optimizer, batch_size, kernel_size and epochs, with or
    without a header. `build(loss_function, optimizer, kernel_size)` returns a compiled Keras model. The runs are those
    of a study, in `img/sweep_<name of the file>.csv`. `results` is written after each run, with loss and accuracy.
    Raises LabError, in one line and before anything is trained or written, naming the file and the line.
    """
    parameters, results = Path(parameters), Path(results)
    check_digits(digits, "sweep")
    rows = _read_rows(parameters, len(digits.train), digits.train.x.shape[1])
    if results.exists() and not read_text(results).startswith(",".join(COLUMNS)):
        raise LabError(f"{results}, line 1: not written by sweep; delete the file, or give another name")
    over = {", ".join(map(str, row)): dict(zip(SETTINGS, row, strict=True)) for row in rows}
    names = dict(zip(over, (f"{parameters}, line {line}" for line in rows.values()), strict=True))
    study = Study("sweep_" + re.sub("[^A-Za-z0-9]", "_", parameters.stem), build, {}, "row", over, seeds=(0,))
    for plan in run_steps(study, digits, workers, max_minutes, False, names):
        last = [(over[c.label], c.runs[0][0].iloc[-1]) for c in plan.configurations if 0 in c.runs]
        scores = [[*settings.values(), row["val_loss"], row["val_accuracy"]] for settings, row in last]
        table = pd.DataFrame(scores, columns=COLUMNS)
        with lock(results):
            replace_file(results, table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode())
    return table


def _read_rows(path: Path, images: int, side: int) -> dict[tuple, int]:
    """The rows of a file, in the order of `SETTINGS`, with the line of each. Raises LabError for the first bad one."""
    text, rows = read_text(path), {}
    separator = ";" if ";" in text and "," not in text else ","  # as some spreadsheets save it
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise LabError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    lines = [(line, cells) for line, cells in lines if any(cells)]
    line, header = lines.pop(0) if lines and set(lines[0][1]) & set(SETTINGS) else (1, SETTINGS)
    if sorted(header) != sorted(SETTINGS) or not lines:
        fault = f"(got {', '.join(header)})" if lines else "with one run in each row (got no row)"
        raise LabError(f"{path}, line {line}: columns must be {', '.join(SETTINGS)} {fault}")
    for line, cells in lines:
        where = f"{path}, line {line}"
        if len(cells) != len(header):
            fault = f"a row must have {len(header)} values, {', '.join(header)}"
            raise LabError(f"{where}: {fault} (got {','.join(cells)!r})")
        row = dict(zip(header, cells, strict=True))
        try:
            column, example = "loss_function", "categorical_crossentropy"
            row[column] = keras.losses.get(row[column].lower()).__name__
            column, example = "optimizer", "Adam"
            row[column] = type(keras.optimizers.get(row[column])).__name__
        except (ValueError, AttributeError):
            raise LabError(f"{where}: unknown {column} {row[column]!r}; Keras has {example}, for example") from None
        for column, most in (("batch_size", images), ("kernel_size", side), ("epochs", 10_000)):
            if not re.fullmatch("[0-9]{1,9}", row[column]) or not 1 <= int(row[column]) <= most:
                raise LabError(f"{where}: {column} must be an integer from 1 to {most} (got {row[column]!r})")
            row[column] = int(row[column])
        values = tuple(row[column] for column in SETTINGS)
        if rows.setdefault(values, line) != line:
            raise LabError(f"{where}: the same run as line {rows[values]}; keep one of them")
    return rows
