import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from mnist_lab.__main__ import main

CELLS = {
    "a": "import mnist_lab as lab\nfrom mnist_lab import keras",
    "b": """
def build(units):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units)])
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(optimizer="adam", loss="mse", metrics=["accuracy"])
    return network""",
    "c": """
digits = lab.load_digits("flat")
few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
study = lab.Study("s", build=build, fixed={"epochs": 2}, vary="units", over=(4, 5), seeds=range(2))
results = lab.run(study, few)
results""",
    "d": 'lab.save(lab.plot_curves(results), "s")',
    "e": "import time\nprint(1)\ntime.sleep(0.5)\nprint(2)",
    "f": "time.time()",
}


@pytest.fixture
def notebook(project, monkeypatch):
    monkeypatch.delenv("MNIST_LAB_MODE")
    path = project / "notebooks" / "n.ipynb"
    cells = [new_code_cell(source.strip(), id=name) for name, source in CELLS.items()]
    cells[-1].metadata["tags"] = ["nbval-ignore-output"]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def snapshot(project):
    return {p.name: p.read_bytes() for p in [*project.glob("img/[!.]*"), *project.glob("notebooks/*")]}


def test_record_then_replay_then_nothing_changes(notebook, project, capfd):
    before = notebook.read_bytes()
    assert main(["run"]) == 1
    told = capfd.readouterr().err
    assert "n.ipynb, code cell 3: study s: 4 runs (4: seeds 0-1; 5: seeds 0-1) missing from " in told
    assert "Traceback" not in told
    assert notebook.read_bytes() == before
    assert not list((project / "img").iterdir())

    assert main(["run", "--record", "--workers", "2"]) == 0
    told = capfd.readouterr()
    assert "s: training 4 runs on 2 workers" in told.err
    assert "notebooks/n.ipynb: " in told.out
    first = snapshot(project)
    assert set(first) == {"n.ipynb", "s.csv", "s.png"}
    assert b"training 4" not in first["n.ipynb"]
    assert [output.text for output in nbformat.read(notebook, as_version=4).cells[4].outputs] == ["1\n2\n"]

    assert main(["run", str(notebook)]) == 0
    assert "training" not in capfd.readouterr().err
    assert snapshot(project) == first
    assert main(["run", "--record"]) == 0
    assert snapshot(project) == first

    assert main(["run", "--check", "5"]) == 1
    assert "--check is 5, but 4 runs are recorded" in capfd.readouterr().err
    assert main(["run", "--check", "1"]) == 0
    told = capfd.readouterr().err
    value, seed = re.search(r"picked: s.csv, (\d), seed (\d)\n", told).groups()
    assert f"study s, units={value}, seed {seed}: equal to the last bit" in told
    assert snapshot(project) == first


def test_a_cell_that_fails_is_named_and_nothing_is_written(notebook, project, capfd):
    broken = notebook.read_text().replace("lab.run(study, few)", "lab.run(study, fwe)")
    notebook.write_text(broken)
    assert main(["run", "notebooks/n.ipynb"]) == 1
    assert "n.ipynb, code cell 3: NameError: name 'fwe' is not defined" in capfd.readouterr().err
    assert notebook.read_text() == broken


@pytest.mark.skipif(os.name == "nt", reason="signals are another matter there")
@pytest.mark.parametrize("times", [1, 6])
def test_stopped_from_the_terminal_it_says_so_and_leaves_the_notebook(notebook, project, times):
    cells = [new_code_cell("import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(60)")]
    nbformat.write(new_notebook(cells=cells), notebook)
    before = notebook.read_bytes()
    process = subprocess.Popen([sys.executable, "-m", "mnist_lab", "run"], stderr=subprocess.PIPE, text=True)
    while not (project / "notebooks" / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert told.splitlines()[-1] == "mnist-lab: stopped; every finished run is kept"
    assert "Traceback" not in told
    assert notebook.read_bytes() == before


def test_a_notebook_saved_while_it_is_executed_is_left_as_it_was_saved(notebook, capfd):
    cells = [new_code_cell("with open('n.ipynb', 'a') as file:\n    _ = file.write(' ')")]
    nbformat.write(new_notebook(cells=cells), notebook)
    before = notebook.read_bytes()
    assert main(["run"]) == 1
    assert "n.ipynb: was changed while it was executed, and is left as it is now" in capfd.readouterr().err
    assert notebook.read_bytes() == before + b" "


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "notebooks/m.ipynb"], "notebooks/m.ipynb: cannot be read (No such file or directory)"),
        (["run", "img/s.csv"], "img/s.csv: not a notebook"),
        (["run", "--workers", "0"], "--workers is 0, but allowed is a whole number from 1"),
        (["run", "--check", "1", "img/s.csv"], "--check picks from the whole record: name no notebooks"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments, told, project, capsys):
    (project / "img" / "s.csv").write_text("key,value\n")
    assert main(arguments) == 1
    assert capsys.readouterr().err == f"mnist-lab: {told}\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"cells": [{"cell_type": "code", "source": "precious"}]}', "n.ipynb: not a notebook"),
        ("[]", "n.ipynb: not a notebook"),
        (
            '{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": []}',
            "n.ipynb: not a notebook of format 4",
        ),
        (
            '{"cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": '
            '{"kernelspec": {"display_name": "R", "language": "R", "name": "ir"}}}',
            "n.ipynb: a notebook for R, but these are for Python",
        ),
    ],
)
def test_what_is_no_notebook_of_ours_is_left_alone(content, told, project, capsys):
    path = project / "notebooks" / "n.ipynb"
    path.write_text(content)
    assert main(["run"]) == 1
    assert told in capsys.readouterr().err
    assert path.read_text() == content


def test_the_cell_that_failed_is_named_and_what_a_reader_wrote_into_the_metadata_stays(notebook, capfd):
    cells = [
        new_code_cell("1 / 0", metadata={"tags": ["raises-exception"]}),
        new_code_cell("raise ValueError('a\\nb')"),
    ]
    nbformat.write(new_notebook(cells=cells, metadata={"title": "mine"}), notebook)
    assert main(["run"]) == 1
    assert "n.ipynb, code cell 2: ValueError: a\n" in capfd.readouterr().err
    nbformat.write(new_notebook(cells=cells[:1], metadata={"title": "mine"}), notebook)
    assert main(["run"]) == 0
    assert nbformat.read(notebook, as_version=4).metadata["title"] == "mine"


def test_a_folder_without_notebooks_is_told(project, capsys):
    assert main(["run"]) == 1
    assert "notebooks: no notebooks there" in capsys.readouterr().err


def test_clean_removes_what_was_not_recorded(project, capsys):
    for name in ("s.csv", "s.local.csv", "s.png", "my.local.notes"):
        (project / "img" / name).touch()
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "removed img/s.local.csv\n"
    assert {path.name for path in (project / "img").iterdir()} == {"s.csv", "s.png", "my.local.notes"}
