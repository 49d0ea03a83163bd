"""A recording that is killed again and again ends with the record of one that was not."""

import functools
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import program
import psutil
import pytest

from mnist_lab import study
from mnist_lab.data import Digits
from mnist_lab.errors import LabError
from mnist_lab.record import make_key, read_probabilities, read_record
from mnist_lab.workers import Configuration

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS = 40


def configure(one, digits):
    return [
        Configuration(
            label,
            "here",
            None,
            {},
            2,
            1,
            digits,
            "d",
            functools.partial(make_key, s=one.name, label=label),
            1,
            one.keep,
        )
        for label in one.over
    ]


def train(name, missing, workers, terminal):
    for configuration, seed in missing:
        numbers = np.random.default_rng([configuration.label, seed]).random((8, 2))
        scores = ("loss", "accuracy", "val_loss", "val_accuracy", "clean_loss", "clean_accuracy")
        history = dict(zip(scores, numbers.tolist(), strict=False)) | {"seconds": [time.time(), 1.0]}
        history |= {"test_loss": [np.nan, numbers[6, 1]], "test_accuracy": [np.nan, numbers[7, 1]]}
        yield configuration, seed, history | {"machine": ["", "stub"]}, numbers.astype(np.float16)


def test_with_real_training_too(project, monkeypatch):
    record = project / "img" / "s.local.csv"
    path = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parents[1]))
    process = subprocess.Popen([sys.executable, program.__file__], env={**os.environ, "PYTHONPATH": path})
    while not record.exists():
        assert process.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(workers, timeout=5)
    assert not left
    finished = set(read_record(record)["key"])
    program.main()
    rows = read_record(record)
    assert set() < finished < set(rows["key"])
    (project / "img").rename(project / "killed")
    (project / "img").mkdir()
    program.main()
    order = {"by": ["key", "epoch"], "ignore_index": True}
    assert (
        rows.drop(columns="seconds")
        .sort_values(**order)
        .equals(read_record(record).drop(columns="seconds").sort_values(**order))
    )
    kept = read_probabilities(project / "killed" / record.name, "val")
    for key, probabilities in read_probabilities(record, "val").items():
        assert np.array_equal(kept[key], probabilities)


# From here on a stub stands for training.


@pytest.fixture
def stub(project, few, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    monkeypatch.setattr(study, "_configure", configure)
    monkeypatch.setattr(study, "train_all", train)

    def run(name, seeds=range(12)):
        few_digits = Digits(few.train[:2], few.val[:2], few.test[:2])
        study.run(study.Study(name, lambda: None, {}, "epochs", (1, 2), seeds, keep="val"), few_digits)

    return run


def fork(action):
    """Start a process of its own for an action; it ends with status 0 if all went well."""
    child = os.fork()
    if not child:
        try:
            action()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def run_and_kill(run, name, after):
    """Whether a process that records was still at it when it was killed, `after` seconds from its start."""
    child = fork(lambda: run(name))
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def test_nothing_is_lost_to_kills_at_any_moment(stub, project):
    chance, kills, numbers = random.Random(0), 0, iter(range(10**6))
    stub("undisturbed")
    expected = read_record(project / "img" / "undisturbed.csv").drop(columns=["key", "seconds"])
    while kills < KILLS:
        record, finished = project / "img" / f"s{next(numbers)}.csv", set()
        while run_and_kill(stub, record.stem, chance.uniform(0, 0.15)):
            kills += 1
            rows = read_record(record)  # readable at any moment
            whole = set(rows["key"][rows["machine"] != ""])
            assert finished <= whole
            assert whole <= set(read_probabilities(record, "val"))
            finished = whole
        assert read_record(record).drop(columns=["key", "seconds"]).equals(expected)
        assert set(read_probabilities(record, "val")) == set(read_record(record)["key"])


@pytest.mark.parametrize("mode", ["record", "local"])
def test_two_at_once_lose_no_run(stub, project, monkeypatch, mode):
    """Two that record the same study, and two that try one each with seeds of its own."""
    stub("undisturbed")
    expected = read_record(project / "img" / "undisturbed.csv").drop(columns=["key", "seconds"])
    monkeypatch.setenv("MNIST_LAB_MODE", mode)
    seeds = (range(12), range(12)) if mode == "record" else (range(5), range(5, 12))
    for number in range(3):
        record = project / "img" / f"s{number}.{'csv' if mode == 'record' else 'local.csv'}"
        children = [fork(lambda n=number, ours=ours: stub(f"s{n}", ours)) for ours in seeds]
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
        rows = read_record(record).sort_values(["value", "seed", "epoch"], ignore_index=True)
        assert rows.drop(columns=["key", "seconds"]).equals(expected)
        assert set(read_probabilities(record, "val")) == set(rows["key"])


def test_a_full_disk_is_told_and_takes_nothing(stub, project):
    import resource

    stub("s")
    before = {path.name: path.read_bytes() for path in (project / "img").glob("s.*")}
    told, write = os.pipe()

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before["s.csv"]) // 2,) * 2)
        record = project / "img" / "s.csv"
        record.write_text("".join(record.read_text().splitlines(keepends=True)[:5]))  # some runs are missing
        try:
            stub("s")
        except LabError as error:
            os.write(write, str(error).encode())

    os.waitpid(fork(fill), 0)
    line = os.read(told, 1000).decode()
    assert re.fullmatch(r"img/s\.(csv|npz): cannot be written \(File too large\); what it held is still there", line)
    assert len(read_record(project / "img" / "s.csv")) >= 4
    assert not list((project / "img").glob(".*.new"))
    stub("s")
    after = read_record(project / "img" / "s.csv").drop(columns="seconds")
    (project / "img" / "t.csv").write_bytes(before["s.csv"])
    assert after.equals(read_record(project / "img" / "t.csv").drop(columns="seconds"))
