"""Executes notebooks in place, side by side, each in a fresh kernel."""

import asyncio
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mnist_lab.errors import LabError
from mnist_lab.files import read_text, replace_file


def read_notebook(path: Path) -> tuple[str, nbformat.NotebookNode]:
    """The text of a file, and the notebook that it holds. Raises LabError if it holds none."""
    text = read_text(path)
    try:
        notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook, version=4)
    except Exception as error:  # json and nbformat each raise their own
        raise LabError(f"{path}: not a notebook of format 4 ({type(error).__name__})") from None
    return text, notebook


class _Client(NotebookClient):
    """A notebook and its kernel, whose stderr (such as the progress of training) goes to the terminal."""

    def __init__(self, path: Path, stops: list[int], dry: bool):
        self.path, self.stops = path, stops
        self.text, notebook = read_notebook(path)
        # this environment's kernel, whatever the notebook names; and printed text as one, since it arrives in pieces
        options = {"kernel_name": "python3", "coalesce_streams": True, "extra_arguments": ["--log-level=CRITICAL"]}
        super().__init__(notebook, allow_errors=dry, record_timing=False, **options)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] != "stream" or msg["content"]["name"] != "stderr":
            return super().process_message(msg, cell, cell_index)
        print(msg["content"]["text"], end="", file=sys.stderr, flush=True)

    async def run(self, env: dict[str, str], free: asyncio.Semaphore) -> bool:
        """Execute the notebook, print its time or what failed, and end its kernel; return whether it succeeded."""
        kernel = self.create_kernel_manager()
        cells = asyncio.create_task(self.execute_cells(env, free))
        try:
            while not (cells.done() or self.stops):
                await asyncio.wait([cells], timeout=0.1)
            cells.cancel()  # does nothing if they are done; workers end by themselves when their kernel is killed
            print(f"{self.path}: {await cells:.1f} s", flush=True)
            return True
        except (LabError, asyncio.CancelledError) as error:
            if not self.stops:
                print(f"mnist-lab: {error}", file=sys.stderr)
            return False
        finally:
            await kernel.shutdown_kernel(now=cells.cancelling() > 0 or not await kernel.is_alive())

    async def execute_cells(self, env: dict[str, str], free: asyncio.Semaphore) -> float:
        """Execute all cells in a new kernel and replace the file; return the seconds it took. Raises LabError."""
        async with free:
            start = time.perf_counter()
            try:
                await self.async_start_new_kernel(env=env, cwd=str(self.path.parent), stderr=asyncio.subprocess.DEVNULL)
                await self.async_start_new_kernel_client()
                for index, cell in enumerate(self.nb.cells):
                    stored = cell.get("outputs")
                    await self.async_execute_cell(cell, index, execution_count=self.code_cells_executed + 1)
                    if stored and "nbval-ignore-output" in cell.metadata.get("tags", []):  # it differs each time
                        cell.outputs = stored
            except CellExecutionError as error:
                message = f"{error.ename}: {error.evalue.strip()}".removeprefix("LabError: ").partition("\n")[0]
                raise LabError(f"{self.path}, code cell {self.code_cells_executed}: {message}") from None
            except RuntimeError:
                raise LabError(f"{self.path}, code cell {self.code_cells_executed}: the kernel died") from None
        if self.allow_errors:  # a dry run: each study that is not recorded has ended in an error that says so
            errors = [output for cell in self.nb.cells for output in cell.get("outputs", ())]
            print("".join(f"{output.evalue}\n" for output in errors if output.get("ename") == "LabError"), end="")
        self.nb.metadata.pop("widgets", None)  # the state of a widget has names that are drawn anew each time
        if read_text(self.path) != self.text:
            raise LabError(f"{self.path}: changed by another program while it was executed, and left so; run it again")
        replace_file(self.path, f"{nbformat.writes(self.nb)}\n".encode())
        return time.perf_counter() - start


async def execute(paths: list[Path], settings: dict[str, str], kernels: int, stops: list[int]) -> bool:
    """Execute notebooks in place, `kernels` at once, with these environment variables; return whether all succeeded.

    A file is replaced once all its cells were executed. All kernels are killed, and files stay as they were, when the
    caller appends to `stops`. Raises LabError, at first, for what is not a notebook.
    """
    clients = [_Client(path, stops, settings.get("MNIST_LAB_MODE") == "dry-run") for path in dict.fromkeys(paths)]
    env, free = {**os.environ, **settings}, asyncio.Semaphore(kernels)
    return all(await asyncio.gather(*(client.run(env, free) for client in clients)))
