"""Whatever is done to a record: the right numbers, or one line that says what is wrong."""

import csv
import io
import tempfile
from pathlib import Path

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from records import A, B, C, make_run

from mnist_lab.errors import LabError
from mnist_lab.studies.record import COLUMNS, is_complete, read_record, split_runs, write_runs

settings.register_profile("project", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("project")


def make_record() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        runs = [make_run(key, value='a "b", c', seed=seed) for seed, key in enumerate((A, B, C))]
        write_runs(Path(folder) / "s.csv", runs)
        return (Path(folder) / "s.csv").read_bytes()


def read(content: bytes) -> dict[str, pd.DataFrame]:
    """The complete runs of a record with this content, none where it is refused, in one line that names it."""
    with tempfile.TemporaryDirectory() as folder:
        path, message = Path(folder) / "s.csv", "s.csv"
        path.write_bytes(content)
        try:
            runs = split_runs(read_record(path))
        except LabError as error:
            runs, message = {}, str(error)
    assert "s.csv" in message
    assert "\n" not in message
    return {key: run[COLUMNS].reset_index(drop=True) for key, run in runs.items() if is_complete(run)}


RECORD = make_record()
RUNS = read(RECORD)


@given(st.data(), st.sampled_from((csv.QUOTE_ALL, csv.QUOTE_MINIMAL)), st.sampled_from(("\n", "\r\n")), st.booleans())
def test_a_spreadsheet_may_sort_quote_repeat_and_end_lines_as_it_likes(data, quoting, end, mark):
    header, *lines = csv.reader(io.StringIO(RECORD.decode()))
    columns = data.draw(st.permutations(range(len(header))))
    lines = data.draw(st.permutations(lines)) + data.draw(st.lists(st.sampled_from(lines), max_size=3))
    file = io.StringIO("\ufeff" * mark, newline="")
    file.seek(0, io.SEEK_END)
    writer = csv.writer(file, quoting=quoting, lineterminator=end)
    writer.writerows([row[column] for column in columns] for row in [header, *lines])
    found = read(file.getvalue().encode())
    assert set(found) == set(RUNS)
    assert all(found[key].equals(RUNS[key]) for key in RUNS)


@given(st.integers(0, len(RECORD) - 1))
def test_a_torn_record_gives_no_wrong_number(end):
    assert all(run.equals(RUNS[key]) for key, run in read(RECORD[:end]).items())


@given(start=st.integers(0, len(RECORD)), length=st.integers(0, 60), instead=st.binary(max_size=12))
def test_a_mangled_record_is_read_or_refused_in_one_line(start, length, instead):
    read(RECORD[:start] + instead + RECORD[start + length :])
