"""A student's ten minutes in JupyterLab, in a real browser. MNIST_LAB_BROWSER names the notebooks that are opened."""

import json
import math
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
ROOT = Path(__file__).parents[1]
CELLS = [
    "import mnist_lab as lab\nfrom mnist_lab import keras\ndigits = lab.load_digits()",
    """def mlp(units):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units, activation="relu")])
    network.add(keras.layers.GaussianNoise(0.1))  # so XLA is not used, which takes seconds to compile
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network""",
    """few = lab.Digits(digits.train[:300], digits.val[:100], digits.val[:100])
long = lab.Study("s", mlp, {"units": 4}, "epochs", (2, 100_000), (0,))
lab.run(long, few, workers=2, max_minutes=1e9)""",
    """short = lab.Study("s", mlp, {"units": 4}, "epochs", (2, 3), (0,))
lab.Answer(lab.run(short, few, workers=1))""",
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of JupyterLab on a copy of the project; `page.folder` is that of its notebooks."""
    root = tmp_path_factory.mktemp("project")
    for name in ("notebooks", "img"):
        shutil.copytree(ROOT / name, root / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=", f"--ServerApp.root_dir={root}", "--allow-root"]
    options.append("--LabApp.expose_app_in_browser=True")  # as `jupyterapp`, to know when a notebook is ready
    env = {**os.environ, "MNIST_LAB_MODE": "local", "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(root / "config")}
    server = subprocess.Popen([sys.executable, "-m", "jupyterlab", "--no-browser", *options], env=env, stderr=-3)
    try:
        with playwright.sync_playwright() as program:
            page = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]).new_page()
            page.folder, page.address = root / "notebooks", f"http://127.0.0.1:{port}/lab/tree/notebooks"
            yield page
    finally:
        server.terminate()
        server.wait()


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def wait_until_idle(page):
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", timeout=120_000)


def open_notebook(page, name):
    for _ in range(60):  # while the server starts
        try:
            page.goto(f"{page.address}/{name}?reset")
            break
        except playwright.Error:
            time.sleep(0.5)
    page.wait_for_function("() => window.jupyterapp?.shell.currentWidget?.sessionContext?.isReady", timeout=90_000)
    page.evaluate("() => jupyterapp.shell.currentWidget.revealed")
    wait_until_idle(page)


def run(page, command):
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text(command, exact=True).click()
    time.sleep(1)


def run_all(page, name):
    """Open a notebook, run all its cells, save it, and look at the saved file."""
    open_notebook(page, name)
    before = (path := page.folder / name).stat().st_mtime_ns
    version = json.loads(path.read_text())["metadata"]["language_info"]["version"]  # JupyterLab writes that of its own
    changed = page.evaluate("() => jupyterapp.shell.currentWidget.context.model.dirty")
    assert not changed or version != platform.python_version()
    run(page, "Run All Cells")
    wait_until_idle(page)
    assert page.locator("details[open]").count() == 0
    page.keyboard.press("Control+s")
    wait_for(lambda: path.stat().st_mtime_ns > before and path.read_text().endswith("}\n"))
    code = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [cell["source"] for cell in code for output in cell["outputs"] if output["output_type"] == "error"]


@pytest.mark.parametrize("name", os.environ.get("MNIST_LAB_BROWSER", "1_mlp").split())  # nbval runs the others
def test_a_notebook_runs_from_top_to_bottom_and_its_answers_stay_folded(name, page):
    run_all(page, f"{name}.ipynb")


def test_a_run_is_watched_stopped_and_resumed(page):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [new_code_cell(text) for text in CELLS]
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), page.folder / "s.ipynb")
    open_notebook(page, "s.ipynb")
    shown = page.locator(".jp-OutputArea-output").all_inner_texts
    run(page, "Run All Cells")
    for text in ("s: 2 runs to train: no run", r" 0 of 2 runs \(workers start", " 1 of 2 runs trained; "):
        wait_for(lambda text=text: re.search(text, "".join(shown())))
    page.get_by_title("Interrupt the kernel").click()
    wait_for(lambda: "run the cell again to go on" in "".join(shown()))
    assert shown()[-1].startswith("stopped: ")
    assert "\n" not in shown()[-1].strip()
    page.locator(".jp-Cell").nth(3).click()
    run(page, "Run Selected Cell")
    wait_for(lambda: page.locator("details").count())
    assert "s: 1 found in s.local.csv, 1 run to train: epochs: 3 " in "".join(shown())
    assert page.locator("details[open]").count() == 0


def test_digits_drawn_with_the_mouse_are_predicted(page):
    run_all(page, "6_draw.ipynb")
    page.locator(".digit-pad").scroll_into_view_if_needed()
    box = page.locator(".pad").bounding_box()
    strokes = {
        1: [(0.5, 0.2), (0.5, 0.8)],
        7: [(0.3, 0.25), (0.7, 0.25), (0.45, 0.8)],
        0: [(0.5 + 0.15 * math.sin(t / 3), 0.5 - 0.28 * math.cos(t / 3)) for t in range(20)],
    }
    percent = page.locator(".digit-pad .row").all_inner_texts
    for digit, points in strokes.items():
        for number, (x, y) in enumerate(points):
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if not number:
                page.mouse.down()
        page.mouse.up()
        wait_for(lambda: any("%" in text for text in percent()))
        time.sleep(1)
        values = [int(re.search(r"(\d+) %", text)[1]) for text in percent()]
        assert values.index(max(values)) == digit, values
        page.get_by_role("button", name="Undo" if digit == 0 else "Clear").press("Enter")
        wait_for(lambda: not any("%" in text for text in percent()))
