"""Hand-outs of notebooks: a page with the answers, and for students a notebook and a page without them."""

import re
from itertools import groupby
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from mnist_lab.execute import read_notebook
from mnist_lab.files import find_notebooks, find_project


def write_handouts(names: list[str]) -> None:
    """Write `solutions/NAME.html`, `student/NAME.ipynb` and `student/NAME.html` to the project's folder `handouts`.

    Pages need no network. `names` are paths of notebooks; without any, all. Raises LabError for what is not a notebook.
    """
    folder, paths = find_project() / "handouts", find_notebooks(names)
    exporter = HTMLExporter(template_name="handout", extra_template_basedirs=[f"{Path(__file__).parent}/templates"])
    for path in paths:
        student = remove_solutions(notebook := nbformat.v4.upgrade(read_notebook(path)[1]))
        for kind, version in (("solutions", notebook), ("student", student)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            page = exporter.from_notebook_node(version, {"metadata": {"name": path.stem}})[0]
            page = re.sub(r'href="(\w+)\.ipynb"', r'href="\1.html"', page)  # a link to a notebook leads to its page
            page = page.replace("<details>", f"<details{' open' * (kind == 'solutions')}>")
            (folder / kind / f"{path.stem}.html").write_text(page, encoding="utf-8")
        (folder / "student" / path.name).write_text(f"{nbformat.writes(student)}\n", encoding="utf-8")
        print(f"{path}: solutions and student version in {folder}/")
    for data in {data for path in paths for data in path.parent.glob("*.csv")}:  # notebooks read them beside themselves
        (folder / "student" / data.name).write_bytes(data.read_bytes())


def remove_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without the cells that have the tag `solution`; one empty cell stands for those of an exercise."""
    cells = []
    for solution, group in groupby(notebook.cells, lambda cell: "solution" in cell.metadata.get("tags", [])):
        group = [*group]
        cells += [nbformat.v4.new_code_cell("# your code here", id=f"{group[0].id}-yours")] if solution else group
    return nbformat.from_dict({**notebook, "cells": cells})
