"""Trains runs on an existing Dask cluster, in place of processes of this machine."""

import logging
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from itertools import islice

from joblib.parallel import get_active_backend

from mnist_lab.errors import LabError


@cache
def name_packages() -> str:
    """The versions that the bits of a run depend on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy"))
    return f"python {platform.python_version()}, {packages}"


def find_client():
    """The Dask client of `joblib.parallel_config(backend="dask")` or `mnist-lab run --cluster`; None without both."""
    address = os.environ.get("MNIST_LAB_CLUSTER")
    return _connect(address) if address else getattr(get_active_backend()[0], "client", None)


@cache
def _connect(address: str):
    from distributed import Client

    try:
        return Client(address, timeout=10)
    except Exception as error:  # whatever answers there may be no scheduler
        raise LabError(f"cluster {address}: no Dask scheduler found there ({error})") from None


def check_workers(client) -> int:
    """How many workers there are. Raises LabError if there is none, or if one would not give this machine's bits."""
    threads = client.nthreads()
    if set(threads.values()) != {1}:
        raise LabError(f"cluster: start workers by dask worker ADDRESS --nthreads 1 (threads of each now: {threads})")
    for worker, packages in client.run(name_packages, on_error="return").items():
        if packages != name_packages() and not isinstance(packages, OSError):  # it may be gone by now
            raise LabError(f"cluster: worker {worker} has {packages}; it needs mnist_lab and {name_packages()}")
    return len(threads)


@cache
def _start_process() -> ProcessPoolExecutor:
    multiprocessing.current_process().daemon = False  # else it may not start another
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def _call_apart(function: Callable, args: tuple, packages: str) -> tuple:
    """Call it in a process of this worker: Dask draws from Python's random numbers, which Keras's layers begin from."""
    if name_packages() != packages:  # this worker came later
        raise LabError(f"cluster: a worker of {platform.node()} has {name_packages()}; it needs {packages}")
    try:
        return _start_process().submit(function, *args).result()
    except BrokenProcessPool:
        _start_process.cache_clear()
        raise


def train_on_cluster(client, tasks: Iterator[tuple], workers: int) -> Iterator[tuple]:
    """Yield the result of each task (of joblib's `delayed`) when it ends. Dask repeats elsewhere what a worker loses.

    (joblib's own Dask backend waits for ever for a task that failed.) Raises LabError where nothing can go on. At the
    end, workers that are still at a task are started anew: a compiled epoch cannot be interrupted.
    """
    from distributed import KilledWorker, wait

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # one line says what it would in many
    pending = set()
    try:
        while True:
            for function, args, _ in islice(tasks, 2 * workers - len(pending)):
                pending.add(client.submit(_call_apart, function, args, name_packages(), pure=False))
            if not pending:
                return
            with suppress(TimeoutError):
                for future in wait(pending, timeout=30, return_when="FIRST_COMPLETED").done:
                    pending.remove(future)
                    yield future.result()
                continue
            client.wait_for_workers(1, timeout=60)
    except (CancelledError, ImportError, KilledWorker, OSError) as error:
        raise LabError(f"cluster: scheduler or workers lost ({type(error).__name__}); finished runs are kept") from None
    finally:
        with suppress(Exception):  # the scheduler may be gone
            busy = [w for w, keys in client.processing().items() if {future.key for future in pending} & set(keys)]
            client.cancel(list(pending), force=True)
            client.restart_workers(busy)
