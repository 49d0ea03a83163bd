"""Re-executes a notebook in place, in a fresh kernel."""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from mnist_lab.errors import LabError
from mnist_lab.record import replace_file

IGNORED = "nbval-ignore-output"  # the tag of cells whose output differs each time: what is stored stays


class _Client(NotebookClient):
    """Shows what the kernel says on stderr, the progress of training, in the terminal instead of the notebook."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            sys.stderr.write(msg["content"]["text"])
            sys.stderr.flush()
            return None
        return super().process_message(msg, cell, cell_index)


def execute(path: Path, settings: dict[str, str], advance=lambda: None) -> float:
    """Execute one notebook in place, in a fresh kernel with these environment variables; return the seconds it took.

    The file is written only when every cell has run. Raises LabError, naming the cell, where one fails.
    """
    notebook = read_notebook(path)
    stored = [cell.get("outputs") if IGNORED in cell.metadata.get("tags", []) else None for cell in notebook.cells]
    client = _Client(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # its warnings are about the wire, not about the notebook
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_complete=lambda cell, cell_index: advance(),
    )
    began = time.perf_counter()
    try:
        client.execute(env={**os.environ, **settings})
    except CellExecutionError as error:
        cell = next(c for c in notebook.cells if any(o.output_type == "error" for o in c.get("outputs", [])))
        where = f"{path}, code cell {[c for c in notebook.cells if c.cell_type == 'code'].index(cell) + 1}"
        raise LabError(f"{where}: {f'{error.ename}: ' * (error.ename != 'LabError')}{error.evalue}") from None
    except DeadKernelError:
        raise LabError(f"{path}: the kernel died") from None
    seconds = time.perf_counter() - began
    for cell, outputs in zip(notebook.cells, stored, strict=True):
        if outputs:
            cell.outputs = outputs
    notebook.metadata = {  # the kernel's own version would differ from machine to machine
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    replace_file(path, lambda new: new.write(f"{nbformat.writes(notebook)}\n".encode()))
    return seconds


def read_notebook(path: Path):
    """Read a notebook. Raises LabError where there is none."""
    try:
        return nbformat.read(path, as_version=4)
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror})") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, ValueError):
        raise LabError(f"{path}: not a notebook") from None
