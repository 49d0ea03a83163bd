import numpy as np
import pytest
from records import A, B, C, make_run

from mnist_lab.errors import LabError
from mnist_lab.studies.record import write_runs
from mnist_lab.studies.results import Results, read_results, spread


def test_the_best_value_is_the_first_within_a_margin_of_the_highest(results):
    assert [results.best(within=margin) for margin in (0.0, 0.007, 0.009)] == [5, 5, 1]
    results.runs[1] = [run.assign(val_accuracy=[0.1, np.nan]) for run in results.runs[1]]
    assert results.best() == 5  # the other diverged


def test_a_table_shows_rounded_percent_and_what_all_runs_have(results):
    line = repr(results.table("val_accuracy", "test_accuracy")).splitlines()[2]
    assert line.split() == ["1", "3", "97.60", "±", "0.10", "87.60", "±", "0.10"]
    assert spread(np.array([0.5])) == "0.50"  # of one seed
    with pytest.raises(LabError, match="s: no metric 'auc' was recorded; recorded: val_accuracy"):
        results.curves("auc")
    assert results.table().shape == (2, 5)
    without = [run.assign(val_accuracy=np.nan) for run in results.runs[1]]
    assert Results("s", "depth", {1: without, 5: results.runs[5]}).table().shape == (2, 4)


def test_results_of_a_record_hold_runs_of_one_kind(project):
    path = project / "img" / "s.csv"
    with pytest.raises(LabError, match=r"s\.csv: no recorded run; train: mnist-lab run --record"):
        read_results("s")
    for run in (make_run(A), make_run(B, seed=1)):
        write_runs(path, [run])
    assert {value: len(runs) for value, runs in read_results("s").runs.items()} == {"a, b": 2}
    for other in (make_run(C), make_run(C, epochs=3, seed=2)):  # one seed twice; another length
        write_runs(path, [make_run(A), other], only=True)
        with pytest.raises(LabError, match=r"s\.csv: value a, b, seed .: epochs are missing, or another run"):
            read_results("s")
    write_runs(path, [make_run(A)], only=True)
    header, _, last = path.read_text().splitlines(keepends=True)
    path.write_text(header + last)
    with pytest.raises(LabError, match=r"seed 0: epochs are missing, .* train it again: mnist-lab run --record"):
        read_results("s")
