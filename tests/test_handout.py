import ast
import json
import re
from base64 import b64encode
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mnist_lab import plots
from mnist_lab.__main__ import main
from mnist_lab.handout import remove_solutions

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def is_solution(cell):
    return "solution" in cell.metadata.get("tags", [])


def list_names(cells, kind):
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, kind)}
    return names | {node.name for node in nodes if isinstance(node, ast.FunctionDef) and kind is ast.Store}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_student_version_leaks_no_answer_and_needs_none(path):
    notebook = nbformat.read(path, as_version=4)
    solutions = [cell for cell in notebook.cells if is_solution(cell)]
    student = remove_solutions(notebook)
    text = nbformat.writes(student)
    shown = [output.get("data", {}).get("text/html", "no") for cell in solutions for output in cell.get("outputs", [])]
    for secret in (*(cell.source for cell in solutions), *shown):
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text
    own = list_names(solutions, ast.Store) - list_names(student.cells, ast.Store)
    assert not own & list_names(student.cells, ast.Load)
    exercises = len(re.findall("^### Exercise", "\n".join(cell.source for cell in notebook.cells), re.MULTILINE))
    assert sum(cell.source == "# your code here" for cell in student.cells) == exercises


def test_pages_are_complete_and_ask_for_nothing(project, capsys):
    figure = plots.plot_digits(np.zeros((2, 784)), ["one", "two"])
    png, metadata = figure._repr_png_()
    data = {"image/png": b64encode(png).decode()}
    shown = new_output("display_data", data=data, metadata={"image/png": metadata})
    cells = [
        new_markdown_cell("To [the next](other.ipynb)\n\n<details><summary>Why?</summary>\n\nSo.\n\n</details>"),
        new_code_cell("figure", outputs=[shown]),
        new_code_cell("secret", metadata={"tags": ["solution"]}),
    ]
    for cell in cells:
        del cell["id"]  # as Colab saves it
    nbformat.write(new_notebook(cells=cells, nbformat_minor=4), project / "notebooks" / "n.ipynb")
    (project / "notebooks" / "parameter.csv").write_text("one\n")
    assert main(["handout"]) == main(["handout", "notebooks/n.ipynb"]) == 0
    assert capsys.readouterr().out.endswith("notebooks/n.ipynb: solutions and student version in handouts/\n")
    folder = project / "handouts"
    pages = {kind: (folder / kind / "n.html").read_text() for kind in ("solutions", "student")}
    for page in pages.values():
        assert not re.findall(r"<script|<link|@import|(?:src|href)=[\"']?(?:https?:)?//|url\([\"']?http", page)
        assert 'alt="2 images of digits: one; two"' in page
        assert 'href="other.html"' in page
        assert page.index("Why?") < page.index("<p>So.</p>") < page.index("</details>")
    assert ("secret" in pages["solutions"], "secret" in pages["student"]) == (True, False)
    assert ("<details open>" in pages["solutions"], "<details open>" in pages["student"]) == (True, False)
    assert (folder / "student" / "parameter.csv").read_text() == "one\n"
    assert "your code here" in (folder / "student" / "n.ipynb").read_text()
