import asyncio
import os
import subprocess
import sys
import time

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mnist_lab.errors import LabError
from mnist_lab.execute import execute

BEGIN = "import os, pathlib, sys, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
NOTEBOOKS = {
    "good": ["import sys, time\nprint(1)\ntime.sleep(1)\nprint(2)", "print('not kept', file=sys.stderr)", "3", "1 / 0"],
    "error": ["1", "raise ValueError('a\\nb')"],
    "lab_error": ["from mnist_lab import LabError", "raise LabError('units must be an integer >= 1 (got 0)')"],
    "dies": ["import os, signal", "os.kill(os.getpid(), signal.SIGKILL)"],
    "saved": ["with open('saved.ipynb', 'a') as file:\n    _ = file.write(' ')"],
}

METADATA = {"kernelspec": {"display_name": "no", "name": "no_such_kernel"}, "language_info": {"name": "python"}}


def write(path, sources, **metadata):
    cells = [new_code_cell(source, id=f"cell{number}") for number, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=[new_markdown_cell("# title", id="title"), *cells], metadata=metadata), path)
    return path


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Five notebooks, executed by `mnist-lab run`, of which four fail: their folder, bytes before, and the process."""
    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    for name, sources in NOTEBOOKS.items():
        path = write(folder / f"{name}.ipynb", sources, **METADATA)
    notebook = nbformat.read(path := folder / "good.ipynb", as_version=4)
    *_, kept, fails = notebook.cells
    kept.metadata["tags"], fails.metadata["tags"] = ["nbval-ignore-output"], ["raises-exception"]
    kept.outputs = [new_output("stream", text="stored\n")]
    nbformat.write(notebook, path)
    before = {path.stem: path.read_bytes() for path in folder.iterdir()}
    command = [sys.executable, "-m", "mnist_lab", "run"]
    return folder, before, subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)


def test_each_notebook_that_fails_is_one_line_and_stays_as_it_was(outcome):
    folder, before, process = outcome
    assert process.returncode == 1
    assert [line.split(":")[0] for line in process.stdout.splitlines()] == ["notebooks/good.ipynb"]
    assert sorted(process.stderr.splitlines()) == [
        "mnist-lab: notebooks/dies.ipynb, code cell 2: the kernel died",
        "mnist-lab: notebooks/error.ipynb, code cell 2: ValueError: a",
        "mnist-lab: notebooks/lab_error.ipynb, code cell 2: units must be an integer >= 1 (got 0)",
        "mnist-lab: notebooks/saved.ipynb: changed by another program while it was executed, and left so; run it again",
        "not kept",
    ]
    expected = before | {"saved": before["saved"] + b" "}
    after = {path.stem: path.read_bytes() for path in folder.iterdir()}
    assert {name for name in after if after[name] != expected[name]} == {"good"}


def test_an_executed_notebook_has_its_outputs_and_nothing_of_this_machine(outcome):
    notebook = nbformat.read(outcome[0] / "good.ipynb", as_version=4)
    outputs = [[output.get("text") for output in cell.get("outputs", [])] for cell in notebook.cells]
    assert outputs == [[], ["1\n2\n"], [], ["stored\n"], [None]]
    assert [cell.get("execution_count") for cell in notebook.cells] == [None, 1, 2, 3, 4]
    assert notebook.cells[1].metadata == {}
    assert notebook.metadata == METADATA  # as another program left it


def test_notebooks_run_side_by_side_or_one_after_the_other_and_each_once(tmp_path):
    log = "with open('log', 'a') as file:\n    _ = file.write('{} ')\n"
    wait = f"""{BEGIN}end = time.time() + float(os.environ['SECONDS'])
while time.time() < end and pathlib.Path('log').read_text().count('begin') < 2:
    time.sleep(0.02)"""
    texts = {name: [log.format("begin"), wait, log.format(f"end {name}")] for name in "ab"}
    paths = [write(tmp_path / f"{name}.ipynb", texts[name]) for name in texts]
    assert asyncio.run(execute([*paths, paths[0]], {"SECONDS": "0.5"}, 1, []))
    assert (tmp_path / "log").read_text() == "begin end a begin end b "
    (tmp_path / "log").unlink()
    assert asyncio.run(execute(paths, {"SECONDS": "20"}, 2, []))
    assert (tmp_path / "log").read_text().startswith("begin begin ")


@pytest.mark.parametrize("content", ['{"nbformat": 3, "nbformat_minor": 0, "worksheets": []}', "text"])
def test_what_is_no_notebook_is_refused_before_any_is_executed(content, tmp_path):
    (path := tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(LabError) as error:
        asyncio.run(execute([write(tmp_path / "first.ipynb", [BEGIN]), path], {}, 2, []))
    assert str(error.value).startswith(f"{path}: not a notebook of format 4 (")
    assert not (tmp_path / "pid").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
@pytest.mark.parametrize(("begun", "number", "times"), [(False, 15, 1), (True, 2, 999)])
def test_stopped_it_says_so_once_and_leaves_notebooks_and_no_process(begun, number, times, project):
    endless = BEGIN + "while True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        print(1)"
    path = write(project / "notebooks" / "n.ipynb", [endless])
    before = path.read_bytes()
    process = psutil.Popen([sys.executable, "-m", "mnist_lab", "run"], stderr=subprocess.PIPE, text=True)
    while not (kernels := process.children()) or (begun and not (path.parent / "pid").exists()):
        assert process.poll() is None
        time.sleep(0.02)
    while process.poll() is None and times:
        process.send_signal(number)
        times -= 1
        time.sleep(0.01)
    assert process.communicate(timeout=20)[1] == "mnist-lab: stopped; every finished run is kept\n"
    assert process.returncode == 130
    assert not any(kernel.is_running() for kernel in kernels)
    assert path.read_bytes() == before
