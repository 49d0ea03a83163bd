"""What nbval does not see: pictures, tags, length, and cells that were run out of order."""

import base64
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def cells(request):
    return [cell for cell in nbformat.read(request.param, as_version=4).cells if cell.cell_type == "code"]


def test_every_cell_was_run_once_and_in_order(cells):
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_cells_are_short_and_few_outputs_are_ignored(cells):
    longest = {"def fast(": 25, "def ": 10, "": 8}  # by how a cell begins; the first that fits counts
    for text in (cell.source for cell in cells):
        assert len(text.splitlines()) <= next(longest[start] for start in longest if text.startswith(start)), text
    tags = [tag for cell in cells for tag in cell.metadata.get("tags", [])]
    assert set(tags) <= {"nbval-ignore-output", "solution"}
    assert tags.count("nbval-ignore-output") <= 4


def test_answers_are_folded_in_every_program(cells):
    """A cell's own fold is opened by JupyterLab as soon as it is run: what is shown must be folded itself."""
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    for cell in solutions:
        assert cell.metadata["jupyter"] == {"source_hidden": True}
        assert all("text/html" in output.get("data", {}) for output in cell.outputs), cell.source
    for cell in cells:
        if cell in solutions or "lab.Answer(" in cell.source:
            assert all(output.data["text/html"].startswith("<details>") for output in cell.outputs), cell.source


def test_every_figure_shown_is_the_one_in_img(cells):
    saved = [(cell, re.search(r'lab\.save\(.*"(\w+)"\)', cell.source, re.DOTALL)) for cell in cells]
    for cell, name in saved:
        if name:
            texts = [o.data.get("image/png") or o.data["text/html"].split("base64,")[1] for o in cell.outputs]
            shown = [base64.b64decode(text.split('"')[0]) for text in texts]
            assert shown == [(ROOT / "img" / f"{name[1]}.png").read_bytes()], name[1]
