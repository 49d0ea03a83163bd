"""Whatever is done to a file or a setting: the right result or one line that says what is wrong; no file changed."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import A, B, C, make_run

from mnist_lab.__main__ import main
from mnist_lab.data import Digits, Split, load_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.record import COLUMNS, is_complete, read_record, split_runs, write_runs
from mnist_lab.studies.study import Study
from mnist_lab.studies.sweep import SETTINGS, sweep

settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("project")


@pytest.fixture(scope="module", autouse=True)
def empty_project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "notebooks").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def refuse(action, *words: str) -> str | None:
    """The line in which an action is refused, which must hold these words; None where it is not refused."""
    try:
        action()
    except LabError as error:
        line = str(error)
    else:
        return None
    assert "\n" not in line
    assert len(line) < 2000
    assert all(word in line for word in words), line
    return line


def make_record() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        runs = [make_run(key, value='a "b", c', seed=seed) for seed, key in enumerate((A, B, C))]
        write_runs(Path(folder) / "s.csv", runs)
        return (Path(folder) / "s.csv").read_bytes()


def read_complete_runs(content: bytes) -> dict[str, pd.DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.csv"
        path.write_bytes(content)
        try:
            runs = split_runs(read_record(path))
        finally:
            assert path.read_bytes() == content
    return {key: run[COLUMNS].reset_index(drop=True) for key, run in runs.items() if is_complete(run)}


RECORD = make_record()
RUNS = read_complete_runs(RECORD)


@given(st.data(), st.sampled_from((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)), st.sampled_from(("\n", "\r\n")), st.booleans())
def test_a_spreadsheet_may_sort_quote_repeat_and_end_lines_as_it_likes(data, quoting, end, mark):
    header, *lines = csv.reader(io.StringIO(RECORD.decode()))
    columns = data.draw(st.permutations(range(len(header))))
    lines = data.draw(st.permutations(lines)) + data.draw(st.lists(st.sampled_from(lines), max_size=3))
    file = io.StringIO("\ufeff" * mark, newline="")
    file.seek(0, io.SEEK_END)
    writer = csv.writer(file, quoting=quoting, lineterminator=end)
    writer.writerows([row[column] for column in columns] for row in [header, *lines])
    found = read_complete_runs(file.getvalue().encode())
    assert set(found) == set(RUNS)
    assert all(found[key].equals(RUNS[key]) for key in RUNS)


@given(start=st.integers(0, len(RECORD)), length=st.integers(0, 60), instead=st.binary(max_size=12))
def test_a_mangled_record_is_read_or_refused_in_one_line(start, length, instead):
    refuse(lambda: read_complete_runs(RECORD[:start] + instead + RECORD[start + length :]), "s.csv")


@given(st.integers(0, len(RECORD) - 1))
def test_a_torn_record_gives_no_wrong_number(end):
    found = {}
    refuse(lambda: found.update(read_complete_runs(RECORD[:end])), "s.csv")
    assert all(found[key].equals(RUNS[key]) for key in found)


anything = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3)),
    *(st.lists(st.integers(-1, 3), max_size=3).map(tuple), st.sampled_from((np.int64(3), print, range(2), float))),
)


def build(units, rate=0.1):
    raise AssertionError(f"making a study builds nothing {units, rate}")


STUDY = {"name": "s", "build": build, "vary": "rate", "over": (0.1, 0.2), "seeds": (0, 1)}
FIXED = {"units": 8, "epochs": 2}


@given(st.sampled_from(["over", "seeds", "fixed", "timing", "keep"]), anything)
@settings(max_examples=300)
def test_a_study_of_anything_is_made_or_refused_in_one_line(name, value):
    refuse(lambda: Study(**{"fixed": FIXED, **STUDY, name: value}))


@given(st.sampled_from(["units", "epochs", "batch_size", "train_size", "rate"]), anything)
def test_a_setting_of_anything_is_taken_or_refused_in_one_line(name, value):
    refuse(lambda: Study(**STUDY, fixed=FIXED | {name: value}), name)
    refuse(lambda: load_digits(value), "form")
    refuse(lambda: load_digits("flat", value), "holdout")


GOOD_CELLS = {
    "loss_function": ("poisson", "Poisson", " MEAN_SQUARED_ERROR"),
    "optimizer": ("Adam", "adam ", "SGD"),
    "batch_size": ("1", "64", "032"),
    "kernel_size": ("3", "28"),
    "epochs": ("1", "10000"),
}
BAD_CELLS = {
    "loss_function": ("", "poison", "accuracy", "3", "get"),
    "optimizer": ("", "LossScaleOptimizer", "legacy", "adamm"),
    "batch_size": ("", "0", "65", "-1", "1.0", "1e1", "\u00b2", "nan", "1_0", "0x10", "9" * 30),
    "kernel_size": ("0", "29", "3,0", "three"),
    "epochs": ("0", "10001", "+1", "TRUE"),
}
IMAGES = Split(np.zeros((64, 28, 28, 1), np.float32), np.eye(10, dtype=np.float32)[[0] * 64])


def build_nothing(loss_function, optimizer, kernel_size):
    print(loss_function, optimizer, kernel_size)


def refuse_sweep(content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        parameters, results = Path(folder) / "parameter.csv", Path(folder) / "results.csv"
        parameters.write_bytes(content)
        line = refuse(lambda: sweep(parameters, results, build_nothing, Digits(IMAGES, IMAGES, IMAGES)), ".csv")
        assert parameters.read_bytes() == content
        assert not results.exists()
        return line


@given(st.data(), st.booleans(), st.sampled_from(("\n", "\r\n")), st.sampled_from(("utf-8", "utf-8-sig")))
def test_the_first_bad_row_of_a_sweep_is_found_and_no_good_file_refused(data, header, end, encoding):
    row = st.fixed_dictionaries({column: st.sampled_from(GOOD_CELLS[column]) for column in SETTINGS})
    rows = data.draw(st.lists(row, min_size=1, max_size=5))
    bad = data.draw(st.none() | st.tuples(st.integers(0, len(rows) - 1), st.sampled_from(SETTINGS)))
    if bad:
        rows[bad[0]] = rows[bad[0]] | {bad[1]: data.draw(st.sampled_from(BAD_CELLS[bad[1]]))}
    columns = data.draw(st.permutations(SETTINGS)) if header else SETTINGS
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end).writerows([columns] * header + [[row[c] for c in columns] for row in rows])
    line = refuse_sweep(file.getvalue().encode(encoding))
    plain = [tuple(row[c].strip().lower().replace("_", "").lstrip("0") for c in SETTINGS) for row in rows]
    twice = next((number for number in range(len(plain)) if plain[number] in plain[:number]), None)
    if twice is not None and (not bad or twice < bad[0]):
        assert f"parameter.csv, line {twice + 1 + header}: the same run as line" in line
    elif bad:
        assert f"parameter.csv, line {bad[0] + 1 + header}: {bad[1]} must be " in line
    else:
        assert f"parameter.csv, line {1 + header}: build() returned None" in line


@given(st.binary(max_size=60) | st.text('poisson,Adam\n\r"3;\t \x00', max_size=60).map(str.encode))
def test_a_sweep_of_anything_is_refused_in_one_line(content):
    assert refuse_sweep(content)


WORDS = ("run", "clean", "verdicts", "--record", "--check", "--workers", "--markdown", "0", "-1", "2", "x", "3.5", "")


@given(st.lists(st.sampled_from(WORDS), max_size=4))
@settings(max_examples=50)
def test_the_command_line_shows_no_traceback(empty_project, arguments):
    try:
        status = main(arguments)
    except SystemExit as error:  # argparse has shown how it is used
        status = error.code
    assert status in (0, 1, 2)
    assert [path.name for path in empty_project.iterdir()] == ["notebooks"]
