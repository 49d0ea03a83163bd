import gc
import os
import signal
import time
from threading import Thread, Timer

import networks
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from mnist_lab.data import digest_digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.record import is_complete, read_record, split_runs
from mnist_lab.studies.study import Study, run
from mnist_lab.training import workers

CELL = """
assert keras.__version__
class Scale(keras.layers.Layer):  # of a notebook's own: a worker must know it
    def call(self, x):
        return 2 * x

def build(units):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units), Scale(), keras.layers.Dense(10)])
    network.compile("adam", "mse", metrics=["accuracy"])
    return network

digits = lab.load_digits("flat")
few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
"""
RUN = 'lab.run(lab.Study("s", build, {"units": 2}, "epochs", EPOCHS, seeds=(3,)), few, workers=2, max_minutes=1e9)'


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def find_workers(parent):
    below = psutil.Process(parent).children(recursive=True)
    return [one.pid for one in below if "popen_loky_posix" in " ".join(one.cmdline())]


@pytest.mark.skipif(os.name == "nt", reason="looks for workers by the name they have elsewhere")
def test_neither_stop_nor_a_kill_in_jupyter_loses_a_run_or_leaves_a_worker(project):
    env = dict(os.environ)
    env.pop("PYTEST_CURRENT_TEST")  # which makes a kernel hide log lines
    manager, client = start_new_kernel(cwd=project, extra_arguments=["--log-level=ERROR"], env=env)
    record, printed, kernel = project / "img" / "s.local.csv", [], manager.provisioner.pid

    def execute(cell):
        reply = client.execute_interactive(cell, timeout=120, output_hook=lambda one: printed.append(one["content"]))
        return reply["content"].get("traceback")

    def stop_when_two_epochs_are_done():
        wait_for(record.exists)
        manager.interrupt_kernel()

    try:
        execute("import mnist_lab as lab; from mnist_lab import keras")
        Timer(0.5, manager.interrupt_kernel).start()
        assert execute(CELL) == ["stopped; run the cell again"]  # when TensorFlow was imported as a whole
        execute(CELL)
        mistake = execute('lab.Study("s", build, {}, "epochs", (2,), (3,))')
        assert mistake == ["LabError: study s: build needs the setting 'units'"]

        Thread(target=stop_when_two_epochs_are_done).start()
        stopped = execute(RUN.replace("EPOCHS", "(2, 100_000)"))
        assert stopped == ["stopped: 1 of 2 runs are done and kept; run the cell again to go on"]
        wait_for(lambda: not find_workers(kernel), seconds=10)
        first = record.read_text()
        assert not [one for one in printed if one.get("name") == "stderr"]  # as TensorFlow would use for its log

        client.execute(RUN.replace("EPOCHS", "(2, 3, 100_000)"))
        wait_for(lambda: record.read_text() != first)
        started = find_workers(kernel)
        assert len(started) == 2
        os.kill(kernel, signal.SIGKILL)
        wait_for(lambda: not any(map(psutil.pid_exists, started)), seconds=10)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert record.read_text().startswith(first)
    assert [(len(run), is_complete(run)) for run in split_runs(read_record(record)).values()] == [(2, True), (3, True)]


def test_a_failed_study_does_not_end_the_workers_of_the_next(project):
    """A notebook keeps the last error, and with it what the failed study had started, until the next error."""
    study = Study("s", networks.build, {}, vary="units", over=(4,), seeds=(0,))
    with pytest.raises(LabError, match="max_minutes") as error:
        run(study, networks.load_few(), workers=2, max_minutes=0)
    run(study, networks.load_few(), workers=2)
    started = find_workers(os.getpid())
    del error
    gc.collect()
    assert find_workers(os.getpid()) == started != []


def test_a_worker_gets_the_users_modules_as_they_are_now(project, monkeypatch):
    monkeypatch.setattr(networks, "METRICS", ["accuracy", "mae"])  # the file, which a worker could import, has others
    study = Study("s", networks.build, {}, vary="units", over=(4,), seeds=(0,))
    assert run(study, networks.load_few(), workers=2).curves("val_mae")[4].shape == (1, 1)


def test_a_worker_that_is_killed_is_one_line_and_finished_runs_are_kept(project):
    test_process = os.getpid()

    def fatal(noise):
        if noise == 0.3 and os.getpid() != test_process:
            os._exit(9)  # as the system does when memory runs out
        return networks.build(4, noise)

    study = Study("s", fatal, {}, vary="noise", over=(0.1, 0.3), seeds=(0,))
    with pytest.raises(LabError, match=r"s: a worker was killed \(too little memory\?\); .* fewer workers") as error:
        run(study, networks.load_few(), workers=1)
    assert "\n" not in str(error.value)
    assert set(read_record(project / "img" / "s.local.csv")["value"]) == {"0.1"}


def test_digits_that_are_no_longer_those_of_load_digits_are_refused():
    data = digest_digits(load_digits("flat", 8))
    with pytest.raises(LabError, match=r"digits were changed after lab.load_digits"):
        workers.find_digits(data, ("flat", 7), 300)
