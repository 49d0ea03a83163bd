"""Sweeps from a file: each row of `parameter.csv` is a run; its scores go to `results.csv`."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mnist_lab.data import Digits
from mnist_lab.errors import LabError
from mnist_lab.files import lock, read_text, replace_file
from mnist_lab.studies.study import Study, run_steps

SETTINGS = ("loss_function", "optimizer", "batch_size", "kernel_size", "epochs")
COLUMNS = [*SETTINGS, "loss", "accuracy"]


def sweep(
    parameters: str | Path, results: str | Path, build: Callable, digits: Digits, *, max_minutes: float = 10
) -> pd.DataFrame:
    """Run one training for each row of a file, and return its rows with their validation loss and accuracy.

    `parameters` names a CSV file with the columns loss_function, optimizer, batch_size, kernel_size and epochs, with or
    without a header. `build(loss_function, optimizer, kernel_size)` returns a compiled Keras model. The runs are those
    of a study, in `img/sweep_<name of the file>.csv`. `results` is written after each run, with loss and accuracy.
    Raises LabError, in one line and before anything is trained, naming the file and the line of a bad row.
    """
    parameters, results = Path(parameters), Path(results)
    over, names = _read_rows(parameters)
    if results.exists() and not read_text(results).startswith(",".join(COLUMNS)):
        raise LabError(f"{results}, line 1: not written by sweep; delete the file, or give another name")
    study = Study("sweep_" + re.sub("[^A-Za-z0-9]", "_", parameters.stem), build, {}, "row", over, seeds=(0,))
    for plan in run_steps(study, digits, None, max_minutes, False, names):
        last = [(over[c.label], c.runs[0][0].iloc[-1]) for c in plan.configurations if 0 in c.runs]
        scores = [[*settings.values(), row["val_loss"], row["val_accuracy"]] for settings, row in last]
        table = pd.DataFrame(scores, columns=COLUMNS)
        with lock(results):
            replace_file(results, table.to_csv(index=False, lineterminator="\n", na_rep="nan").encode())
    return table


def _read_rows(path: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """The settings of each row, and its "file, line N", by its text. Raises LabError for the first bad row."""
    text, header, over, names = read_text(path), SETTINGS, {}, {}
    separator = ";" if ";" in text and "," not in text else ","  # as some spreadsheets save it
    for line, cells in enumerate(csv.reader(text.splitlines(), delimiter=separator), 1):
        cells, where = [cell.strip() for cell in cells], f"{path}, line {line}"
        if sorted(cells) == sorted(SETTINGS):
            header = cells
        elif any(cells):
            if len(cells) != len(SETTINGS):
                raise LabError(f"{where}: must be {', '.join(header)} (got {', '.join(cells)!r})")
            row = {column: cells[header.index(column)] for column in SETTINGS}
            for column in ("batch_size", "kernel_size", "epochs"):
                if not re.fullmatch("0*[1-9][0-9]*", row[column]):
                    raise LabError(f"{where}: {column} must be an integer >= 1 (got {row[column]!r})")
                row[column] = int(row[column])
            label = ", ".join(map(str, row.values()))
            if label in over:
                raise LabError(f"{where}: the same run as {names[label]}; keep one of them")
            over[label], names[label] = row, where
    if not over:
        raise LabError(f"{path}: no run; each row must be {', '.join(SETTINGS)}")
    return over, names
