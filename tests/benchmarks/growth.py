"""How the parent's own work grows with a study: a wait stands in place of training, of no or half a second.

    python tests/benchmarks/growth.py [RUNS]        default: 10,000

First, milliseconds and memory for each further thousand runs of 12 epochs; then runs per second against workers.
"""

import os
import random
import resource
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from joblib import Parallel, delayed

import mnist_lab as lab
from mnist_lab import keras
from mnist_lab.studies.record import SCORES
from mnist_lab.training import workers

EPOCHS = 12


def build(units):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units), keras.layers.Dense(10)])
    network.compile(loss="mse", metrics=["accuracy"])
    return network


def wait(seconds: float, times: list, name: str, jobs: list, count: int, *options):
    """In place of `train_all`: random scores after `seconds`; notes in `times` when each run is asked for."""

    def train(job):
        time.sleep(seconds)
        history = {metric: [random.random() for _ in range(EPOCHS)] for metric in (*SCORES, "seconds")}
        return *job, history | {"machine": [""] * (EPOCHS - 1) + ["a machine"]}, None

    for result in Parallel(count, "threading", return_as="generator_unordered")(delayed(train)(job) for job in jobs):
        times.append(time.perf_counter())
        yield result


def run(runs: int, count: int, seconds: float) -> list[float]:
    """When each run was asked for, of a study in a new folder."""
    times: list[float] = []
    workers.train_all = partial(wait, seconds, times)
    study = lab.Study("growth", build, {"epochs": EPOCHS, "train_size": 100}, "units", range(1, 11), range(runs // 10))
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/img")
        Path(folder, "img", "sources.json").write_text("{}")
        os.chdir(folder)
        lab.run(study, lab.load_digits(), workers=count, max_minutes=1e9)
    return [*times, time.perf_counter()]


if __name__ == "__main__":
    total = int(sys.argv[1]) if sys.argv[1:] else 10_000
    os.environ["MNIST_LAB_MODE"], lines = "record", []
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):  # what a study says
        times = run(total, 1, 0)
        for first in range(0, total, 1000):
            lines.append(f"runs {first} to {first + 1000}: {times[first + 1000] - times[first]:.1f} ms a run")
        lines.append(f"memory at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")
        for count in (1, 2, 16, 64):
            times = run(20 * count, count, 0.5)
            rate = 20 * count / (times[-1] - times[0])
            lines.append(f"{count} workers, half a second a run: {rate:.1f} runs a second")
    print(*lines, sep="\n")
