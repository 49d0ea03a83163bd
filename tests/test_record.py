import csv
import io
import itertools
import os
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from records import A, B, C, make_run

from mnist_lab.errors import LabError
from mnist_lab.studies.record import COLUMNS, is_complete, read_record, split_runs, write_runs


def read_all(path: Path) -> dict[str, pd.DataFrame]:
    return {key: run.reset_index(drop=True) for key, run in split_runs(read_record(path)).items()}


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "study.csv"
    for key in (A, B):
        write_runs(path, [make_run(key)])
    return path


def test_runs_read_back_to_the_last_bit(record):
    write_runs(record, [make_run(C, loss=[0.5, np.nan], val_loss=[np.inf, 1e-30])])
    runs = read_all(record)
    pd.testing.assert_frame_equal(runs[A], make_run(A), check_exact=True)
    assert list(runs) == [A, B, C]
    assert runs[C]["val_loss"].tolist() == [np.inf, 1e-30]
    assert runs[C]["loss"].isna().tolist() == [False, True]


def test_a_run_is_appended_and_a_full_disk_leaves_the_record_as_it_was(record, monkeypatch):
    before, file = record.read_bytes(), record.stat().st_ino
    write_runs(record, [make_run(C)])
    after = record.read_bytes()
    assert (record.stat().st_ino, after.startswith(before)) == (file, True)  # not written anew, which takes long
    monkeypatch.setattr(os, "fsync", lambda file: os.write(-1, b""))  # fails
    with pytest.raises(LabError, match=r"study\.csv: cannot be written"):
        write_runs(record, [make_run("3d" * 8)])
    assert record.read_bytes() == after


def test_a_run_with_other_metrics_or_trained_twice_is_added_or_replaced(record):
    write_runs(record, [make_run(A, loss=[9.0, 9.0])])
    write_runs(record, [make_run(C, epochs=1, recall=[0.25], auc=[0.5])])
    runs = read_all(record)
    assert [len(run) for run in runs.values()] == [2, 2, 1]
    assert list(runs[C].columns[-5:]) == ["recall", "auc", "machine", "source", "probe"]
    assert runs[A]["loss"].tolist() == [9, 9]
    assert runs[B][COLUMNS].equals(make_run(B)[COLUMNS])


def test_a_run_that_could_not_be_read_back_is_not_written(record):
    before = record.read_bytes()
    with pytest.raises(LabError, match=r"a run was not saved to .*study\.csv; its table, line 2: accuracy must be"):
        write_runs(record, [make_run(C, accuracy=[97.5, 98.0])])
    assert record.read_bytes() == before
    write_runs(record, [make_run(C, val_my_accuracy=[97.5, 98.0])])  # a metric of a student's own has any unit
    assert read_all(record)[C]["val_my_accuracy"].tolist() == [97.5, 98.0]


def test_what_a_spreadsheet_does_to_a_file_is_understood(record):
    write_runs(record, [make_run(C, loss=[1.25e-05, 2e20])])
    expected, chance = read_all(record), random.Random(0)
    header, *lines = csv.reader(io.StringIO(record.read_text().replace("1.25e-05", "1.25E-05").replace("e+20", "E+20")))
    for end, quoting in itertools.product(("\n", "\r\n"), (csv.QUOTE_ALL, csv.QUOTE_MINIMAL)):
        columns = chance.sample(range(len(header)), len(header))
        rows = [header, *chance.sample(lines, len(lines)), chance.choice(lines)]  # one of them twice
        file = io.StringIO(newline="")
        csv.writer(file, quoting=quoting, lineterminator=end).writerows([row[i] for i in columns] for row in rows)
        record.write_bytes(f"\ufeff{file.getvalue()}".encode())
        for key, run in read_all(record).items():
            pd.testing.assert_frame_equal(run[expected[key].columns], expected[key], check_exact=True)
    record.write_bytes(record.read_bytes().rstrip())  # without an end of the last line
    write_runs(record, [make_run("3d" * 8)])
    assert len(read_all(record)) == 4


def test_a_torn_or_mangled_record_gives_no_wrong_number_and_one_line(record):
    content, expected, chance = record.read_bytes(), read_all(record), random.Random(0)
    for place in range(len(content)):
        for damaged in (content[:place], content[:place] + chance.randbytes(6) + content[place + 30 :]):
            record.write_bytes(damaged)
            try:
                runs = read_all(record)
            except LabError as error:
                runs, message = {}, str(error)
                assert re.fullmatch(r".*study\.csv.*", message)
            complete = {key: run for key, run in runs.items() if is_complete(run)}
            assert all(run[COLUMNS].equals(expected[key][COLUMNS]) for key, run in complete.items())


def set_cell(column: str, text: str):
    def change(content: str) -> str:
        rows = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)
        rows.loc[0, column] = text
        return rows.to_csv(index=False)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text.replace("0.", "O.", 1), r"line 2: loss must be a number \(got 'O\."),
        (lambda text: text.replace("0.", "0,", 1), "line 2: 17 values for 16 columns; correct the line, or delete"),
        (lambda text: text.replace('b",', 'b"c,', 1), "not a record"),
        (lambda text: text.replace("seed,epoch", "a,b", 1), "line 1: must name the columns key, value, seed,"),
        (lambda text: text + set_cell("loss", "1.5")(text).splitlines()[1], "line 6: epoch must appear once in a run"),
        (set_cell("key", "see below"), "line 2: key must be 16 hexadecimal digits"),
        (set_cell("seed", "0.5"), r"line 2: seed must be an integer \(got '0.5'\)"),
        (set_cell("seed", "1"), "line 3: seed must be the same in all lines of a run"),
        (set_cell("val_accuracy", "97.5"), r"line 2: val_accuracy must be a number from 0 to 1 \(got '97.5'\)"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(record, damage, message):
    record.write_bytes(damage(record.read_text()).encode())
    with pytest.raises(LabError, match=rf"study\.csv.*{message}") as error:
        read_record(record)
    assert "\n" not in str(error.value)
