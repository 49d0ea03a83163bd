"""Re-executes a notebook in place, in a fresh kernel."""

import asyncio
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from mnist_lab.errors import LabError
from mnist_lab.record import replace_file

PATIENCE = 5  # seconds that a kernel has to stop
IGNORED = "nbval-ignore-output"  # the tag of cells whose output differs each time: what is stored stays


class _Client(NotebookClient):
    """Shows what the kernel says on stderr, the progress of training, in the terminal instead of the notebook.

    Stopped from the terminal, it interrupts the kernel, as Jupyter's stop button does, and kills it if it does not
    answer; its base would lose its way.
    """

    ready = stopped = ending = False

    async def async_start_new_kernel(self, **kwargs):
        loop, executing = asyncio.get_running_loop(), asyncio.current_task()

        def stop():
            if self.ready and not self.stopped:
                self._interrupting = asyncio.ensure_future(self.km.interrupt_kernel())
                loop.call_later(PATIENCE, kill)
            else:
                kill()
            self.stopped = True

        def kill():
            if not self.ending:  # which must not be cut short
                self.ending, self.shutdown_kernel = True, "immediate"
                executing.cancel()

        with suppress(NotImplementedError):  # on Windows, where the base does not listen, either
            for sign in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(sign, stop)
        await super().async_start_new_kernel(**kwargs)

    async def _async_cleanup_kernel(self):
        self.ending = True
        await super()._async_cleanup_kernel()

    async def async_execute_cell(self, *args, **kwargs):
        if self.stopped:  # while the kernel started, which may go on nevertheless
            raise asyncio.CancelledError
        self.ready = True
        return await super().async_execute_cell(*args, **kwargs)

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            sys.stderr.write(msg["content"]["text"])
            sys.stderr.flush()
            return None
        return super().process_message(msg, cell, cell_index)


def execute(path: Path, settings: dict[str, str], advance=lambda: None) -> float:
    """Execute one notebook in place, in a fresh kernel with these environment variables; return the seconds it took.

    The file is written only when every cell has run, and if nobody else has written it since. Raises LabError, naming
    the cell, where one fails, and KeyboardInterrupt where it is stopped.
    """
    notebook, content = read_notebook(path), path.read_bytes()
    stored = [cell.get("outputs") if IGNORED in cell.metadata.get("tags", []) else None for cell in notebook.cells]
    started: list[str] = []
    client = _Client(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # what is printed comes in pieces, by the clock
        extra_arguments=["--log-level=ERROR"],  # its warnings are about the wire, not about the notebook
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_complete=lambda cell, cell_index: advance(),
        on_cell_start=lambda cell, cell_index: started.append(cell.cell_type),
    )
    began = time.perf_counter()
    try:
        client.execute(env={**os.environ, **settings})
    except (CellExecutionError, RuntimeError, asyncio.CancelledError) as error:  # a RuntimeError of a kernel that died
        if client.stopped:
            raise KeyboardInterrupt from None
        where = f"{path}, code cell {started.count('code')}"
        if not isinstance(error, CellExecutionError):
            raise LabError(f"{where}: the kernel died") from None
        told = (error.evalue.strip().splitlines() or [""])[0]
        kind = "" if error.ename == "LabError" else f"{error.ename}: "
        raise LabError(f"{where}: {kind}{told}") from None
    seconds = time.perf_counter() - began
    for cell, outputs in zip(notebook.cells, stored, strict=True):
        if outputs:
            cell.outputs = outputs
    # the kernel's own version would differ from machine to machine
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    if not path.exists() or path.read_bytes() != content:
        raise LabError(f"{path}: was changed while it was executed, and is left as it is now; run it again")
    replace_file(path, lambda new: new.write(f"{nbformat.writes(notebook)}\n".encode()))
    return seconds


def read_notebook(path: Path):
    """Read a notebook for Python. Raises LabError where there is none."""
    try:
        notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror})") from None
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, ValueError, AttributeError, TypeError, KeyError):
        raise LabError(f"{path}: not a notebook") from None
    if notebook.nbformat != 4:
        raise LabError(f"{path}: not a notebook of format 4; open it in Jupyter and save it")
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    if language != "python":
        raise LabError(f"{path}: a notebook for {language}, but these are for Python")
    return notebook
