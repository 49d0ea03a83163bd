import csv
import io
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_lab.data import Digits
from mnist_lab.errors import LabError
from mnist_lab.record import (
    COLUMNS,
    MACHINE,
    digest_data,
    find_folder,
    find_run,
    make_key,
    read_probabilities,
    read_record,
    replace_file,
    write_probabilities,
    write_runs,
)
from mnist_lab.results import in_percent, read_results


def make_run(key: str, epochs: int = 2, **columns) -> pd.DataFrame:
    numbers = {name: np.random.default_rng(int(key, 16) % 99).random(epochs) for name in COLUMNS[4:]}
    run = pd.DataFrame({"key": key, "value": "a, b", "seed": 0, "epoch": range(1, epochs + 1), **numbers, **columns})
    run["test_loss"] = [np.nan] * (epochs - 1) + [1 / 3]
    return run.assign(**{MACHINE: [""] * (epochs - 1) + ["x, y"]})


def set_cell(text: str, column: str, instead: str) -> str:
    header, *lines = csv.reader(text.splitlines())
    lines[0][header.index(column)] = instead
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([header, *lines])
    return file.getvalue()


A, B, C = sorted(make_key(number=number) for number in range(3))


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "study.csv"
    write_runs(path, [make_run(A), make_run(B)])
    return path


def test_every_bit_reads_back(record):
    rows = read_record(record)
    pd.testing.assert_frame_equal(find_run(rows, A, 2).reset_index(drop=True), make_run(A), check_exact=True)


def test_a_loss_that_diverged_reads_back(tmp_path):
    write_runs(tmp_path / "d.csv", [make_run(A, loss=[0.5, np.nan], val_loss=[np.inf, np.nan])])
    rows = find_run(read_record(tmp_path / "d.csv"), A, 2)
    assert list(rows["val_loss"]) == [np.inf, pytest.approx(np.nan, nan_ok=True)]


def test_runs_are_added_ordered_and_dropped(record):
    write_runs(record, [make_run(C, epochs=1, recall=[0.25], auc=[0.5])], keep=[C, A])
    rows = read_record(record)
    assert list(dict.fromkeys(rows["key"])) == [C, A]
    assert list(rows.columns[-3:]) == ["recall", "auc", MACHINE]
    assert list(find_run(rows, A, 2)["epoch"]) == [1, 2]
    before = record.read_bytes()
    write_runs(record, [make_run(C, epochs=1, recall=[0.25], auc=[0.5])], keep=[C, A])
    assert record.read_bytes() == before
    write_runs(record, [], keep=[A, C])
    assert list(dict.fromkeys(read_record(record)["key"])) == [A, C]


def test_what_is_not_there_yet_stands_empty_and_what_diverged_as_nan(record):
    write_runs(record, [make_run(C, loss=[0.5, np.nan])], keep=[C])
    first, last = (line.split(",") for line in record.read_text().splitlines()[1:])
    at = 1 + COLUMNS.index("test_loss")  # the value holds a comma
    assert (first[at], last[at]) == ("", repr(1 / 3))
    assert last[1 + COLUMNS.index("loss")] == "nan"


def test_probabilities_are_kept_and_dropped_in_a_folder_not_there_yet(tmp_path):
    path = tmp_path / "img" / "s.local.csv"
    write_probabilities(path, "test", {A: np.eye(2, dtype=np.float16), B: np.ones((2, 2), np.float16)})
    write_probabilities(path, "val", {A: np.zeros((2, 2), np.float16)})
    assert list(read_probabilities(path, "test")) == [A, B]  # what was kept of one split outlives another
    write_probabilities(path, "test", {C: np.zeros((2, 2), np.float16)}, keep=[C, A])
    kept = read_probabilities(path, "test")
    assert list(kept) == [C, A]
    assert (kept[A] == np.eye(2)).all()
    assert read_probabilities(path, "val") == {}


def test_what_could_not_be_read_again_is_not_written(record):
    before = record.read_bytes()
    with pytest.raises(
        LabError,
        match=r"study\.csv: nothing was written, since it could not be read again: .*study\.csv, line 6: accuracy is",
    ):
        write_runs(record, [make_run(C, accuracy=[97.5, 98.0])])
    assert record.read_bytes() == before


def test_an_accuracy_of_ones_own_may_have_any_unit(record):
    write_runs(record, [make_run(C, val_my_accuracy=[97.5, 98.0])])
    assert list(find_run(read_record(record), C, 2)["val_my_accuracy"]) == [97.5, 98.0]
    assert in_percent("val_my_accuracy", 97.5) == 97.5
    for name in ("accuracy", "val_binary_accuracy", "clean_accuracy", "test_accuracy"):
        assert in_percent(name, 0.975) == 97.5


def test_probabilities_with_a_wrong_byte_are_read_or_refused(tmp_path):
    path = tmp_path / "s.csv"
    write_probabilities(path, "val", {A: np.eye(10, dtype=np.float16)})
    good = path.with_suffix(".npz").read_bytes()
    for place in range(len(good)):
        path.with_suffix(".npz").write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        with suppress(LabError):
            assert (read_probabilities(path, "val").get(A, np.eye(10)) == np.eye(10)).all()


def test_a_run_that_is_not_whole_is_not_found_and_is_replaced(record):
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for number, line in enumerate(lines) if number != 1))  # the first epoch of A
    assert find_run(read_record(record), A, 2) is None
    assert find_run(read_record(record), B, 2) is not None
    assert find_run(read_record(record), B, 3) is None
    write_runs(record, [make_run(B, epochs=3).assign(**{MACHINE: ["", "x", ""]})])  # its end is missing
    assert find_run(read_record(record), B, 3) is None
    write_runs(record, [make_run(A)])
    assert find_run(read_record(record), A, 2) is not None


def test_a_failed_write_leaves_the_old_file(record, monkeypatch):
    before = record.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(LabError, match=r"cannot be written \(disk full\); what it held is still there"):
        write_runs(record, [make_run(C)])
    assert record.read_bytes() == before
    assert not list(record.parent.glob(".*.new"))
    with pytest.raises(LabError, match=r"img/s\.csv: cannot be written"):
        replace_file(record.parent / "img" / "s.csv", lambda new: None)


def test_what_a_spreadsheet_does_to_a_file_is_understood(record):
    rows = read_record(record)
    lines = record.read_text().splitlines()
    record.write_bytes(("\ufeff" + "\r\n".join([lines[0], *lines[:0:-1], lines[1]]) + "\r\n").encode())
    for key in (A, B):
        pd.testing.assert_frame_equal(
            *(find_run(r, key, 2).reset_index(drop=True) for r in (rows, read_record(record))), check_exact=True
        )


def test_results_of_a_record_hold_runs_of_one_kind(project):
    path = project / "img" / "s.csv"
    write_runs(path, [make_run(A), make_run(B, seed=1)])
    assert [len(seeds) for seeds in read_results("s").runs.values()] == [2]
    write_runs(path, [make_run(C)])
    with pytest.raises(LabError, match=r"s\.csv: the run of a, b, seed 0, is of another network or length than others"):
        read_results("s")
    write_runs(path, [make_run(C, epochs=3, seed=2)], keep=[A, C])
    with pytest.raises(LabError, match="the run of a, b, seed 2, is of another network or length than others"):
        read_results("s")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(LabError, match="seed 0, is not whole; train again with: mnist-lab run --record"):
        read_results("s")


def test_numbers_in_the_spelling_of_a_spreadsheet_are_read(record):
    write_runs(record, [make_run(A, loss=[1.25e-05, 2e20])])
    record.write_text(record.read_text().replace("1.25e-05", "1.25E-05").replace("2e+20", "2E+20"))
    assert list(find_run(read_record(record), A, 2)["loss"]) == [1.25e-05, 2e20]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("0.", "O.", 1), "line 2: loss is not a number: 'O."),
        (lambda text: text.replace("0.", "0,", 1), "line 2: 15 values, but 14 columns"),
        (lambda text: text.replace(A, "see below", 1), "line 2: key is not 16 hexadecimal digits; mend the line, or"),
        (lambda text: text.replace('",0,', '",0.5,', 1), "line 2: seed is not a whole number: '0.5'; mend"),
        (lambda text: text.replace('b",', 'b"c,', 1), "cannot be read as a record"),
        (lambda text: text[:-40], "line 5: 1[0-3] values, but 14 columns"),
        (
            lambda text: text.replace(",epoch", ",EPOCH", 1),
            "line 1: no column epoch; a record has key, value, s",
        ),
        (lambda text: text.replace("seed,epoch", "a,b", 1), "line 1: no column seed, epoch;"),
        (lambda text: text + text.splitlines()[1].replace("0.", "1.", 1) + "\n", "line 6: this epoch of this run"),
        (lambda text: text.replace("loss", "accuracy", 1), "line 1: a column stands twice"),
        (lambda text: text.replace(text.splitlines()[1].split(",")[5], "", 1), "line 2: "),
        (lambda text: "", "line 1: no column key, value"),
        (lambda text: text.replace('",0,', '",\u0663,', 1).encode().decode("latin-1"), "line 2: seed is not a whole"),
        (lambda text: text.replace('"a, b",0', "b,0", 1), "line 3: value is another than in the lines before of this"),
        (lambda text: text.replace('",0,2', '",1,2', 1), "line 3: seed is another than in the lines before"),
        (
            lambda text: set_cell(text, "val_accuracy", "97.5"),
            "line 2: val_accuracy is not a number from 0 to 1: '9",
        ),
        (lambda text: set_cell(text, "val_accuracy", "1.0001"), "line 2: val_accuracy is not a number from 0 to 1"),
        (lambda text: set_cell(text, "val_accuracy", "-inf"), "line 2: val_accuracy is not a number from 0 to 1"),
        (lambda text: set_cell(text, "val_loss", "1e999"), "line 2: val_loss is not a number: '1e999'"),
        (lambda text: text.replace("a, b", "\xff\xfe"), r"line 2: the byte b'\\xff' is not UTF-8; save the file as"),
    ],
)
def test_damage_is_told_by_file_and_line(record, damage, told):
    record.write_bytes(damage(record.read_text()).encode("latin-1"))
    with pytest.raises(LabError, match=told) as error:
        read_record(record)
    assert "study.csv" in str(error.value)
    assert "\n" not in str(error.value)


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_file_is_unpickled(tmp_path):
    file, sprung = tmp_path / "s.npz", tmp_path / "sprung"
    np.savez(file, key_val=np.array([Trap(sprung)], dtype=object))
    with pytest.raises(LabError, match=r"s\.npz: cannot be read \(.*\); delete it to have its runs trained again"):
        read_probabilities(tmp_path / "s.csv", "val")
    assert not sprung.exists()
    np.load(file, allow_pickle=True)["key_val"]
    assert sprung.exists()  # so the trap would have sprung


def test_the_folder_is_that_of_the_project(tmp_path, monkeypatch):
    (tmp_path / "notebooks" / "more").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    assert find_folder() == Path("..", "img")
    (tmp_path / "img").mkdir()
    assert find_folder() == Path("..", "img")
    monkeypatch.chdir(tmp_path / "notebooks" / "more")
    assert find_folder() == Path("..", "..", "img")
    monkeypatch.chdir(tmp_path)
    assert find_folder() == Path("img")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_folder() == Path("..", "img")
    (tmp_path / "img").rmdir()
    assert find_folder() == Path("img")


def test_a_key_depends_on_all_that_decides():
    assert re.fullmatch("[0-9a-f]{16}", make_key(a=np.nan))
    assert make_key(a=1, b=[2]) == make_key(b=[2], a=1) != make_key(a=1, b=[3])


def test_the_digest_sees_every_pixel_and_label(few):
    other = few.test.x.copy()
    other[-1, -1] += 1e-6
    changed = Digits(few.train, few.val, type(few.test)(other, few.test.y))
    assert digest_data(few) == digest_data(Digits(few.train[:], few.val, few.test))
    assert len({digest_data(few), digest_data(changed), digest_data(Digits(few.train, few.test, few.val))}) == 3
