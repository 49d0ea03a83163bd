"""Trains runs in worker processes, one thread each: so a run has the same bits whatever trains beside it."""

import math
import os
import pickle
import platform
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

from joblib import Parallel, delayed
from tqdm import tqdm

from mnist_lab.data import Digits, cut_digits, digest_digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras, tf
from mnist_lab.training.checks import build_model, first_line
from mnist_lab.training.cluster import name_packages, train_on_cluster
from mnist_lab.training.trainer import Trainer, to_tensors


def estimate_seconds(fit: dict, images: int, operations: int) -> float:
    """Roughly the seconds that a run takes on one thread: 80 operations a nanosecond, and a little for each step."""
    return fit["epochs"] * 3 * images * (operations / 80e9 + 50e-6 / fit["batch_size"]) + 1


def in_words(seconds: float) -> str:
    """A time in words: "40 seconds", "12 minutes", "3.3 hours"."""
    minutes = f"{seconds / 60:.0f} minutes" if seconds > 90 else f"{seconds:.0f} second{'s' * (round(seconds) != 1)}"
    return f"{seconds / 3600:.1f} hours" if seconds > 7200 else minutes


def train_all(name: str, jobs: list[tuple], workers: int, estimate: float, file: TextIO, client) -> Iterator[tuple]:
    """Train `jobs`, pairs of a study's configuration and a seed, in about `estimate` seconds; by a Dask client, if any.

    Yields each as it ends, with its history and probabilities (or None), and shows on `file` how far it is.
    Raises LabError, in one line, for a run that fails, and where a worker is killed.
    """
    jobs = sorted(jobs, key=lambda job: -job[0].seconds)
    sources = list(dict.fromkeys(c.source for c, _ in jobs))
    # a worker stays with what it compiled; it takes some short runs at once, as they take less time than compiling
    short = jobs[0][0].seconds < 5
    jobs.sort(key=lambda job: (sources.index(job[0].source) // (1 if short else workers), job[1]))
    batch_size = min(4, max(1, len(jobs) // max(len(sources), workers))) if short else 1
    config = keras.config.dtype_policy().name, keras.config.epsilon()
    tasks = (delayed(_train_one)(number, int(seed), *c.task, *config) for number, (c, seed) in enumerate(jobs))
    # joblib would train in this very process where one job is asked for: of two workers, only one is given work then
    in_flight = 1 if workers == 1 else "2*n_jobs"
    pool = Parallel(max(workers, 2), return_as="generator_unordered", batch_size=batch_size, pre_dispatch=in_flight)
    with _show_progress(name, [c.seconds for c, _ in jobs], estimate, file) as done:
        try:
            for number, history, probabilities in train_on_cluster(client, tasks, workers) if client else pool(tasks):
                c, seed = jobs[number]
                if isinstance(history, str):
                    raise LabError(f"{c.name}, seed {seed}: {history}")
                yield c, seed, history, probabilities
                done.append(c.seconds)
        except BrokenProcessPool:
            fault = "a worker was killed (too little memory?); finished runs are kept"
            raise LabError(f"{name}: {fault}; run again, with fewer workers if it happens again") from None


@contextmanager
def _show_progress(name: str, seconds: list[float], estimate: float, file: TextIO) -> Iterator[list[float]]:
    """A bar that moves each second, then a line that stays. The caller appends the estimate of each finished run."""
    start, done, ended, runs = time.monotonic(), [], threading.Event(), f"{len(seconds)} run{'s' * (len(seconds) > 1)}"

    def show():
        finished, expected = 0, estimate
        with tqdm(total=1, bar_format="|{bar:20}| {desc}", file=file, leave=False) as bar:
            while not ended.is_set():
                passed = time.monotonic() - start
                if len(done) > finished:
                    finished, expected = len(done), 10 + max(passed - 10, 1) * sum(seconds) / sum(done)
                state = f"{finished} of {runs} {'trained' if finished else '(workers start and compile)'}"
                bar.n, left = min(passed / expected, 1), in_words(max(expected - passed, 1))
                bar.set_description_str(f"{name}: {state}; {passed:.0f} s passed, about {left} left")
                ended.wait(1)

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
        print(f"{name}: {len(done)} of {runs} trained in {in_words(time.monotonic() - start)}", file=file, flush=True)


_digits: dict[str, Digits] = {}  # those this worker process trained on last
_trainers: dict[str, Trainer] = {}  # the three it used last


def _train_one(number, seed, source, builder, fit, digits, train_size, keep, policy, epsilon) -> tuple:
    """One run, in a worker process: its history, or what went wrong in one line; and the probabilities to keep."""
    try:
        prepare_process()
        keras.backend.clear_session(free_memory=False)  # else the names of metrics count up from run to run
        keras.config.set_dtype_policy(policy)  # which a cleared session has forgotten
        keras.config.set_epsilon(epsilon)
        keras.utils.set_random_seed(seed)
        digits, epochs = find_digits(fit["data"], digits, train_size), fit["epochs"]
        build, settings = pickle.loads(builder)
        model = build_model(build, settings, digits.train, "in the worker")
        trainer = _trainers.pop(source, None) or Trainer(model, digits.train, fit["batch_size"])
        trainer.restart(model)
        _trainers[source] = trainer  # the one used last is the last
        if len(_trainers) > 3:
            _trainers.pop(next(iter(_trainers)))
        evaluate = {"val": digits.val, "clean": digits.train[:10_000]}
        history = trainer.fit(digits.train, epochs=epochs, seed=seed, evaluate=evaluate)
        history |= {f"test_{n}": [math.nan] * (epochs - 1) + [v] for n, v in trainer.evaluate(digits.test).items()}
        probabilities = trainer.predict(getattr(digits, keep)) if keep else None
        return number, history | {"machine": [""] * (epochs - 1) + [_name_machine()]}, probabilities
    except Exception as error:
        return number, first_line(error), None


@cache
def prepare_process() -> None:
    """One thread and no GPU, since bits depend on them; and an end soon after the parent is killed."""
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # sent to all at once, it is the parent's to answer
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def find_digits(data: str, digits: Digits | tuple, train_size: int) -> Digits:
    """The digits of this hash in TensorFlow's memory, one set at a time: they are the most of what a worker holds."""
    if data not in _digits:
        _digits.clear()
        digits = cut_digits(load_digits(*digits) if isinstance(digits, tuple) else digits, train_size)
        if digest_digits(digits) != data:
            raise LabError("digits were changed after lab.load_digits; make them with lab.Digits(train, val, test)")
        _digits[data] = Digits(*map(to_tensors, (digits.train, digits.val, digits.test)))
    return _digits[data]


def _name_machine() -> str:
    text = file.read_text() if (file := Path("/proc/cpuinfo")).exists() else ""
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)", text, re.MULTILINE))
    cpu = platform.processor() or platform.machine()
    if len(found) == 3:  # the name alone says little of a kind of CPU
        cpu = "{model name} (family {cpu family}, model {model}{})".format(", AVX-512" * ("avx512f" in text), **found)
    return f"{name_packages()}, {cpu}"
