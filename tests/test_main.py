import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import networks
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mnist_lab.__main__ import main

STUDY = """
import mnist_lab as lab
from networks import build, load_few
study = lab.Study("s", build, {"epochs": 2}, vary="units", over=(4,), seeds=(0,))
results = lab.run(study, load_few())
lab.save(lab.plot_curves(results), "s")
results
"""


def read_files(project):
    return {path.name: path.read_bytes() for path in project.glob("*/[!.]*")}


def test_dry_run_then_record_then_replay_and_nothing_is_downloaded(project, monkeypatch):
    helpers, log = Path(networks.__file__).parent, project / "log"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (helpers / "watch", helpers, helpers.parents[1]))))
    monkeypatch.setenv("WATCH", str(log))

    def run(*options):
        command = [sys.executable, "-m", "mnist_lab", "run", *options]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    nbformat.write(new_notebook(cells=[new_code_cell(STUDY, id="c")]), project / "notebooks" / "n.ipynb")
    asked = read_files(project)
    cost = r"study s: 1 run to train: no run of this study in \.\./img/; about 1\d seconds on 1 worker\n"
    assert re.match(cost, run("--dry-run", "--workers", "1", "notebooks/n.ipynb").stdout)
    assert read_files(project) == asked

    recorded = run("--record", "--workers", "1")
    assert "s: 1 run to train: no run of this study in ../img/" in recorded.stderr
    assert re.fullmatch(r"notebooks/n.ipynb: \d+\.\d s\n", recorded.stdout)
    files = read_files(project)
    assert set(files) == {"n.ipynb", "s.csv", "s.png", "sources.json"}
    assert b"1 worker" not in files["n.ipynb"]

    assert run("notebooks/n.ipynb").stderr == ""
    assert read_files(project) == files

    assert {"started"} <= set(log.read_text().split()) <= {"started", "127.0.0.1", "localhost"}


def test_notebooks_share_the_cores_unless_they_train(project, monkeypatch):
    calls = []

    async def execute(paths, settings, kernels, stops):
        calls.append(([path.as_posix() for path in paths], settings, kernels))
        return True

    monkeypatch.setattr("mnist_lab.execute.execute", execute)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    monkeypatch.setattr(signal, "signal", lambda *args: None)  # it would handle those of the tests from here on
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
