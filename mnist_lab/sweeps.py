"""Sweeps from a file: one run a row of `parameter.csv`, its scores in `results.csv`."""

import csv
import inspect
import io
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mnist_lab.data import Digits
from mnist_lab.errors import LabError
from mnist_lab.record import check_writable, lock, read_text, replace_file
from mnist_lab.study import Study, check_digits, configure, count_workers, cut, find_mode
from mnist_lab.train import build_model, keras, prepare
from mnist_lab.workers import Configuration, train_all

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
    """Train one run for each row of a file, and return its rows with their validation loss and accuracy.

    `parameters` names a CSV file with the columns loss_function, optimizer, batch_size, kernel_size and epochs, with or
    without a header. `build(loss_function, optimizer, kernel_size)` returns a compiled Keras model. Each run that ends
    is written to `results`, the same columns and then loss and accuracy; a row that stands there is not trained again,
    whatever has become of the network or the data since: delete the rows that are to be made anew. As with `run`,
    `mnist-lab run` without `--record` and pytest train nothing.

    Raises LabError, in one line and before anything is trained, for what is wrong in either file, naming it and the
    line, and where a row is missing that may not be trained.
    """
    for name, path in (("parameters", parameters), ("results", results)):
        if not isinstance(path, (str, Path)):
            raise LabError(f"sweep: {name} is {path!r}, but must be the path of a file")
    parameters, results = Path(parameters), Path(results)
    mode, workers = find_mode(), count_workers(workers)
    check_digits(digits, "sweep")
    part, digest = cut(digits, train_size, "sweep")
    side = part.train.x.shape[1]
    lines = _read_lines(parameters, SETTINGS)
    if not lines:
        raise LabError(f"{parameters}: no rows; a row has {', '.join(SETTINGS)}")
    rows: dict[tuple, int] = {}
    for line, texts in lines:
        row = _read_settings(f"{parameters}, line {line}", texts, len(part.train), side)
        if rows.setdefault(row, line) != line:
            raise LabError(f"{parameters}, line {line}: the same run as line {rows[row]}; keep one of them")
    found = _read_results(results)
    missing = {row: line for row, line in rows.items() if row not in found}
    if missing and mode in ("replay", "test"):
        raise LabError(f"{results}: {len(missing)} of {len(rows)} rows missing; train with: mnist-lab run --record")
    over = {row: _model_settings(row) for row in missing}
    study = Study("sweep", build, {}, "row", over, seeds=(SEED,)) if missing else None  # sees to ignored settings
    todo = [(_configure(row, f"{parameters}, line {line}", study, part, digest), SEED) for row, line in missing.items()]
    if missing:
        check_writable(results)
    for configuration, _, history, _ in train_all("sweep", todo, workers, terminal=mode == "record"):
        row = configuration.label
        found[row] = history["val_loss"][-1], history["val_accuracy"][-1]
        _write_result(results, list(rows), row, found[row])
    return pd.DataFrame([[*row, *found[row]] for row in rows], columns=[*SETTINGS, *SCORES])


def _model_settings(row: tuple) -> dict:
    return dict(zip(SETTINGS, row, strict=True))


def _configure(row: tuple, where: str, study: Study, digits: Digits, digest: str) -> Configuration:
    settings = study.settings[row]
    try:
        measured = _try_out(study.build, settings, digits, where)
    except LabError:
        for smaller in range(settings["kernel_size"] - 1, 0, -1):
            try:
                _try_out(study.build, {**settings, "kernel_size": smaller}, digits, where)
            except LabError:
                continue
            raise _wrong(
                where, "kernel_size", settings["kernel_size"], f"is a whole number from 1 to {smaller}"
            ) from None
        raise
    if "accuracy" not in measured:
        raise LabError(f'{where}: the model has no accuracy; compile it with metrics=["accuracy"]')
    return configure(row, where, study.build, settings, digits, digest)


def _try_out(build: Callable, settings: dict, digits: Digits, where: str) -> list[str]:
    """Train a step: an older Keras still builds a network whose pictures have shrunk to nothing."""
    return prepare(build_model(build, settings, digits.train, where), digits.train, where)


def _read_lines(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with their line numbers, whether or not it has a header. Blank lines do not count.

    Raises LabError naming file and line for an encoding other than UTF-8, and for a column too many or too few.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    lines = []
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise LabError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})") from None
    header = list(columns)
    if lines:
        names = [re.sub(r"[\s_-]+", "_", cell.lower()) for cell in lines[0][1]]
        if set(names) & set(columns):
            line, _ = lines.pop(0)
            if sorted(names) != sorted(columns):
                raise LabError(
                    f"{path}, line {line}: the columns are {', '.join(names)}, but must be {', '.join(columns)}"
                )
            header = names
    for line, cells in lines:
        if len(cells) != len(header):
            found = f"{len(cells)} {'values' if len(cells) > 1 else 'value'}, {','.join(cells)!r}"
            raise LabError(f"{path}, line {line}: {found}, but a row has {len(header)}: {', '.join(header)}")
    return [(line, dict(zip(header, cells, strict=True))) for line, cells in lines]


def _read_settings(where: str, texts: dict[str, str], images: int, side: int) -> tuple:
    """The settings of one row, in the order of `SETTINGS`. Raises LabError for one that is not allowed."""
    settings = []
    for column, allowed in (("loss_function", _losses()), ("optimizer", _optimizers())):
        plain = {name.lower().replace("_", ""): name for name in allowed}
        name = plain.get(texts[column].lower().replace("_", ""))
        if name is None:
            raise _wrong(where, column, texts[column], f"are {', '.join(allowed)}")
        settings.append(name)
    for column, most in (("batch_size", images), ("kernel_size", side), ("epochs", MOST_EPOCHS)):
        text = texts[column]
        if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= most:
            raise _wrong(where, column, text, f"is a whole number from 1 to {most}")
        settings.append(int(text))
    return tuple(settings)


def _wrong(where: str, column: str, found: object, allowed: str) -> LabError:
    return LabError(f"{where}: {column} is {found!r}, but allowed {allowed}")


def _losses() -> list[str]:
    """The names of Keras's loss functions for one-hot labels."""
    functions = {name: loss for name, loss in vars(keras.losses).items() if inspect.isfunction(loss)}
    told = [name for name, loss in functions.items() if "y_true" in inspect.signature(loss).parameters]
    return sorted(name for name in told if not name.startswith(("sparse", "ctc", "circle")))  # these take other labels


def _optimizers() -> list[str]:
    """The names of Keras's optimizers, without those that wrap another."""
    return sorted(name for name in vars(keras.optimizers) if name[0].isupper() and "Optimizer" not in name)


def _read_results(path: Path) -> dict[tuple, tuple[float, float]]:
    """The scores by row, of a file that `sweep` wrote; none where there is no file."""
    found: dict[tuple, tuple[float, float]] = {}
    for line, texts in _read_lines(path, (*SETTINGS, *SCORES)) if path.exists() else []:
        where = f"{path}, line {line}"
        row = _read_settings(where, texts, images=10**9, side=10**9)
        for column in SCORES:
            if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?|-?inf|nan", texts[column]):
                raise _wrong(where, column, texts[column], "is a number")
            if column == "accuracy" and not 0 <= float(texts[column]) <= 1:
                raise _wrong(where, column, texts[column], "is a number from 0 to 1")
        scores = tuple(float(texts[column]) for column in SCORES)
        if repr(found.setdefault(row, scores)) != repr(scores):  # as text, since nan equals nothing
            raise LabError(f"{where}: this row stands there twice, with other scores; delete one of them")
    return found


def _write_result(path: Path, order: list[tuple], row: tuple, scores: tuple[float, float]) -> None:
    """Add a run to the results, whole or not at all: first the rows of other files, then those of `order`, in order."""
    with lock(path):
        found = {**_read_results(path), row: scores}
        rows = [*(other for other in found if other not in order), *(ours for ours in order if ours in found)]
        table = pd.DataFrame([[*one, *found[one]] for one in rows], columns=[*SETTINGS, *SCORES])
        text = table.to_csv(index=False, lineterminator="\n", na_rep="nan")
        replace_file(path, lambda new: new.write(text.encode()))
