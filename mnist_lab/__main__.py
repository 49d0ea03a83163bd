"""`mnist-lab`: the notebooks, re-executed from a terminal."""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from tqdm import tqdm

from mnist_lab.conclusions import read_verdicts
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


def execute(path: Path, record: bool = False, workers: int | None = None, advance=lambda: None) -> float:
    """Execute one notebook in place, in a fresh kernel; return the seconds it took.

    The file is written only when every cell has run. Raises LabError, naming the cell, where one fails.
    """
    notebook = read_notebook(path)
    stored = [cell.get("outputs") if IGNORED in cell.metadata.get("tags", []) else None for cell in notebook.cells]
    environment = {**os.environ, "MNIST_LAB_MODE": "record" if record else "replay"}
    if workers is not None:
        environment["MNIST_LAB_WORKERS"] = str(workers)
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
        client.execute(env=environment)
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


def find_project() -> Path:
    """The nearest folder upwards that holds `notebooks`. Raises LabError where there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir():
            return folder
    raise LabError(f"{here}: no folder `notebooks` here or above; go to the project's folder")


def run(names: list[str], record: bool, workers: int | None) -> None:
    """Execute the notebooks named, or all, one after the other, and print a line for each with its time."""
    if workers is not None and workers < 1:
        raise LabError(f"--workers is {workers}, but allowed is a whole number from 1")
    paths = [Path(name) for name in names] or sorted((find_project() / "notebooks").glob("*.ipynb"))
    cells = [sum(cell.cell_type == "code" for cell in read_notebook(path).cells) for path in paths]
    with tqdm(total=sum(cells), unit="cell", leave=False, bar_format="{percentage:3.0f}%|{bar}| {desc}") as bar:
        for path in paths:
            bar.set_description_str(path.name)
            seconds = execute(path, record, workers, advance=bar.update)
            tqdm.write(f"{os.path.relpath(path)}: {seconds:.1f} s")


def clean() -> None:
    """Throw away what was trained outside the record."""
    files = sorted((find_project() / "img").glob("*.local.*"))
    for file in files:
        file.unlink()
        print(f"removed {os.path.relpath(file)}")
    if not files:
        print("nothing to remove: no img/*.local.csv")


def print_verdicts(markdown: bool) -> None:
    """Print the verdict on every conclusion of 2018, from the record alone."""
    verdicts = read_verdicts()
    print(verdicts.to_markdown() if markdown else verdicts)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status: 0, or 1 after one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="mnist-lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute the notebooks in place: tables, and figures in img/")
    runner.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    runner.add_argument("--record", action="store_true", help="train what the record lacks, and write it to img/*.csv")
    runner.add_argument("--workers", type=int, help="processes that train at once (default: one a core)")
    commands.add_parser("clean", help="remove img/*.local.csv, the runs trained outside the record")
    ledger = commands.add_parser("verdicts", help="print the verdict on every conclusion of 2018, from the record")
    ledger.add_argument("--markdown", action="store_true", help="as the table that stands in the README")
    told = parser.parse_args(arguments)
    try:
        if told.command == "run":
            run(told.notebooks, told.record, told.workers)
        elif told.command == "clean":
            clean()
        else:
            print_verdicts(told.markdown)
    except LabError as error:
        print(f"mnist-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mnist-lab: stopped; every finished run is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
