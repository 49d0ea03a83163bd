"""A recording that is killed many times ends with the record of one that was not. A stub stands for training."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_lab.data import Digits
from mnist_lab.studies.identity import digest
from mnist_lab.studies.record import SCORES, read_probabilities, read_record
from mnist_lab.studies.runs import Plan
from mnist_lab.studies.study import Study, run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS = 20


def build_stub(plan, configurations):
    for c in configurations:
        c.key, c.probe = digest(plan.study.name, c.label), "1 2"


def train_stub(plan, paths, max_minutes):
    for c, seed in plan.missing():
        numbers = np.random.default_rng([c.label, seed]).random((len(SCORES), 2))
        rows = pd.DataFrame(dict(zip(SCORES, numbers, strict=True))).assign(seconds=[time.time(), 1.0])
        rows = rows.assign(key=digest(c.key, seed), seed=seed, epoch=(1, 2), machine=["", "stub"])
        c.add(seed, rows.assign(source=["", c.source], probe=["", c.probe]), numbers.astype(np.float16))
        yield c.runs[seed]


@pytest.fixture
def record_study(project, few, monkeypatch):
    """A function that runs a study of this name, whose runs no other study has."""
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    monkeypatch.setattr(Plan, "_build", build_stub)
    monkeypatch.setattr(Plan, "train_missing", train_stub)
    digits = Digits(few.train[:2], few.val[:2], few.test[:2])

    def record(name, seeds=range(8)):
        run(Study(name, lambda name: name, {"name": name}, "epochs", (1, 2), seeds, keep="val"), digits)

    return record


def read_scores(record: Path) -> pd.DataFrame:
    rows = read_record(record)
    assert set(read_probabilities(record, "val")) == set(rows["key"])
    return rows.drop(columns=["key", "seconds", "source"]).sort_values(["value", "seed", "epoch"], ignore_index=True)


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


def test_nothing_is_lost_to_kills_at_any_moment(record_study, project):
    chance, kills, number, start = random.Random(0), 0, 0, time.perf_counter()
    record_study("undisturbed")
    duration = time.perf_counter() - start
    expected = read_scores(project / "img" / "undisturbed.csv")
    while kills < KILLS:
        number += 1
        record, finished, status = project / "img" / f"s{number}.csv", set(), None
        while status != 0:
            child = fork(lambda name=record.stem: record_study(name))
            time.sleep(chance.uniform(0, duration / 3))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            kills += status != 0
            rows = read_record(record)  # readable at any moment
            complete = set(rows["key"][rows["machine"] != ""])
            assert finished <= complete <= set(read_probabilities(record, "val"))
            finished = complete
        assert read_scores(record).equals(expected)


@pytest.mark.parametrize("mode", ["record", "local"])
def test_two_at_once_lose_no_run(record_study, project, monkeypatch, mode):
    """Two that record the same study, and two that try one, each with seeds of its own."""
    record_study("undisturbed")
    expected = read_scores(project / "img" / "undisturbed.csv")
    monkeypatch.setenv("MNIST_LAB_MODE", mode)
    both = (range(8), range(8)) if mode == "record" else (range(3), range(3, 8))
    children = [fork(lambda seeds=seeds: record_study("s", seeds)) for seeds in both]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    assert read_scores(project / "img" / ("s.csv" if mode == "record" else "s.local.csv")).equals(expected)
