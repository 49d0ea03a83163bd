import os
import re
import signal

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from records import make_run

from mnist_lab.__main__ import main

STUDY = """
import mnist_lab as lab
from program import build, load_few
study = lab.Study("s", build, {"epochs": 2}, vary="units", over=(4, 5), seeds=(0,))
results = lab.run(study, load_few())
lab.save(lab.plot_curves(results), "s")
results
"""


@pytest.fixture(autouse=True)
def signals(monkeypatch):
    """`mnist-lab run` handles signals to the end of its process; here that is the process of the tests."""
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)


def read_files(project):
    return {path.name: path.read_bytes() for path in project.glob("*/[!.]*")}


def test_dry_run_then_record_then_replay_and_nothing_changes(project, monkeypatch, capfd):
    path = os.pathsep.join([os.path.dirname(make_run.__code__.co_filename), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    nbformat.write(new_notebook(cells=[new_code_cell(STUDY, id="c")]), project / "notebooks" / "n.ipynb")
    asked = read_files(project)
    assert main(["run", "--dry-run", "--workers", "2", "notebooks/n.ipynb"]) == 0
    cost = r"study s: 2 runs to train: no run of this study in \.\./img/; about 1\d seconds on 2 workers\n"
    assert re.match(cost, capfd.readouterr().out)
    assert read_files(project) == asked

    assert main(["run", "--record", "--workers", "2"]) == 0
    printed = capfd.readouterr()
    assert "s: 2 runs to train: no run of this study in ../img/" in printed.err
    assert re.fullmatch(r"notebooks/n.ipynb: \d+\.\d s\n", printed.out)
    files = read_files(project)
    assert set(files) == {"n.ipynb", "s.csv", "s.png", "sources.json"}
    assert b"2 workers" not in files["n.ipynb"]

    assert main(["run", "notebooks/n.ipynb"]) == 0
    assert capfd.readouterr().err == ""
    assert read_files(project) == files


def test_notebooks_share_the_cores_unless_they_train(project, monkeypatch):
    calls = []

    async def execute(paths, settings, kernels, stops):
        calls.append(([path.as_posix() for path in paths], settings, kernels))
        return True

    monkeypatch.setattr("mnist_lab.execute.execute", execute)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    for name in ("b", "a"):
        nbformat.write(new_notebook(), project / "notebooks" / f"{name}.ipynb")
    assert main(["run"]) == main(["run", "--record", "--workers", "2", "b.ipynb"]) == main(["run", "--prune"]) == 0
    both = ["notebooks/a.ipynb", "notebooks/b.ipynb"]
    assert calls == [
        (both, {"MNIST_LAB_MODE": "replay"}, 3),
        (["b.ipynb"], {"MNIST_LAB_MODE": "record", "MNIST_LAB_WORKERS": "2"}, 1),
        (both, {"MNIST_LAB_MODE": "prune"}, 1),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run", "notebooks: no notebooks there; go to the project's folder"),
        ("handout", "notebooks: no notebooks there; go to the project's folder"),
        ("run notebooks/m.ipynb", "notebooks/m.ipynb: cannot be read (No such file or directory)"),
        ("verdicts", "img/mlp_depth.csv: no recorded run; train: mnist-lab run --record"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, project, capsys):
    assert main(arguments.split()) == 1
    assert capsys.readouterr().err == f"mnist-lab: {message}\n"


def test_clean_removes_what_was_not_recorded(project, capsys):
    for name in ("s.csv", "s.local.csv", "s.local.npz", "my.local.notes"):
        (project / "img" / name).touch()
    os.chdir(project / "notebooks")
    assert main(["clean"]) == main(["clean"]) == 0
    removed = "removed ../img/s.local.csv\nremoved ../img/s.local.npz\n"
    assert capsys.readouterr().out == f"{removed}nothing to remove: no img/*.local.*\n"
    assert set(read_files(project)) == {"s.csv", "my.local.notes", "sources.json"}
