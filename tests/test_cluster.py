"""A Dask cluster on four hosts of this machine. MNIST_LAB_UNPLUGS is how often a host vanishes in the second test."""

import os
import random
import signal
import subprocess
import threading
import time

import joblib
import networks
import pandas as pd
import pytest
from hosts import ADDRESS, HOSTS, Cluster

from mnist_lab.data import load_digits
from mnist_lab.errors import LabError, Stopped
from mnist_lab.studies.study import Study, run
from mnist_lab.training.cluster import check_workers, find_client, name_packages, train_on_cluster

distributed = pytest.importorskip("distributed", reason="pip install 'mnist_lab[cluster]'")
SETTINGS = {"epochs": 2, "train_size": 500}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    try:
        with (
            Cluster(tmp_path_factory.mktemp("hosts")) as made,
            distributed.Client(ADDRESS, timeout=60, set_as_default=False) as client,
        ):
            client.wait_for_workers(3, timeout=60)
            made.client = client
            yield made
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"hosts are network namespaces, which cannot be made here ({error})")


def test_runs_have_the_bits_of_this_machine_on_a_cluster(cluster, project, monkeypatch, capsys):
    study, record = Study("s", networks.build, SETTINGS, "units", (4,), range(2)), project / "img" / "s.local.csv"

    def train():
        record.unlink(missing_ok=True)
        run(study, load_digits("flat"), workers=1)
        return sorted(pd.read_csv(record).drop(columns="seconds").to_csv(index=False).split())

    here = train()
    monkeypatch.setenv("MNIST_LAB_CLUSTER", ADDRESS)
    with find_client():
        assert train() == here
    assert "on 2 cluster workers" in capsys.readouterr().out


def test_what_a_host_that_vanishes_was_doing_is_done_elsewhere_and_once(cluster):
    unplugs = int(os.environ.get("MNIST_LAB_UNPLUGS", 1))
    tasks = [(subprocess.getoutput, (f"sleep 0.5; echo {number}",), {}) for number in range(30 * unplugs)]
    done = []

    def disturb():
        for number in range(unplugs):
            while len(done) < 5 + 30 * number:
                time.sleep(0.1)
            host = random.choice(HOSTS[1:])
            time.sleep(random.random())
            cluster.cut_power(host)
            time.sleep(5)
            cluster.restore(host)

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    with cluster.client.as_current():
        for result in train_on_cluster(cluster.client, iter(tasks), 3):
            done.append(int(result))
    assert sorted(done) == list(range(30 * unplugs))
    thread.join(10)
    assert not thread.is_alive()


def test_stop_leaves_nothing_running_on_the_cluster(cluster, project):
    cluster.client.wait_for_workers(3, timeout=60)
    endless = Study("s", networks.build, SETTINGS | {"units": 4}, "epochs", (10**6,), range(3))
    digits, began = load_digits("flat"), time.monotonic()
    threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(Stopped, match="0 of 3 runs"), distributed.Client(ADDRESS), joblib.parallel_config("dask"):
        run(endless, digits, max_minutes=1e9)
    assert time.monotonic() - began < 25
    assert not any(cluster.client.processing().values())
    script = "ps -eo args | grep -c '[s]pawn_main.*multiprocessing-fork'"
    assert int(subprocess.run(script, shell=True, capture_output=True, text=True).stdout) <= 3  # Dask's own


@pytest.mark.parametrize(
    ("threads", "packages", "message"),
    [
        ({}, {}, r"start workers by dask worker ADDRESS --nthreads 1 \(threads of each now: {}\)"),
        ({"tcp://a:1": 1, "tcp://b:2": 4}, {}, r"--nthreads 1 \(threads of each now: {.*'tcp://b:2': 4}\)"),
        ({"tcp://a:1": 1}, {"tcp://a:1": "python 3.8"}, "worker tcp://a:1 has python 3.8; it needs mnist_lab and py"),
        ({"tcp://a:1": 1}, {"tcp://a:1": ImportError("no mnist_lab")}, "worker tcp://a:1 has no mnist_lab; it needs"),
    ],
)
def test_a_cluster_that_would_not_give_the_same_bits_is_refused_in_one_line(threads, packages, message):
    class Client:
        def nthreads(self):
            return threads

        def run(self, function, on_error):
            assert function is name_packages
            return packages

    with pytest.raises(LabError, match=message):
        check_workers(Client())


def test_a_worker_that_comes_later_with_other_packages_is_named(cluster, monkeypatch):
    monkeypatch.setattr("mnist_lab.training.cluster.name_packages", lambda: "python 3.8")
    message = r"a worker of .* has python 3\.1.*; it needs python 3\.8"
    with cluster.client.as_current(), pytest.raises(LabError, match=message):
        list(train_on_cluster(cluster.client, iter([(max, (1, 2), {})]), 1))


def test_an_address_without_a_scheduler_is_one_line(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_CLUSTER", "tcp:/host")
    with pytest.raises(LabError, match="cluster tcp:/host: no Dask scheduler found there"):
        find_client()
