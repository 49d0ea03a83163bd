import gc
import os
import re
import subprocess
import sys
import time
from threading import Timer

import program
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from mnist_lab.data import digest_digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.record import read_record
from mnist_lab.studies.study import Study, run
from mnist_lab.training import workers

CELL = """
import mnist_lab as lab
from mnist_lab import keras
digits = lab.load_digits("flat")
few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])

class Scale(keras.layers.Layer):  # of a notebook's own: a worker must know it
    def call(self, x):
        return 2 * x

def build(units):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units), Scale(), keras.layers.Dense(10)])
    network.compile("adam", "mse", metrics=["accuracy"])
    return network
"""
RUN = 'lab.run(lab.Study("s", build, {"units": 2}, "epochs", EPOCHS, seeds=(3,)), few, workers=2)'


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def find_workers(parent):
    below = psutil.Process(parent).children(recursive=True)
    return [one.pid for one in below if "popen_loky_posix" in " ".join(one.cmdline())]


@pytest.mark.skipif(os.name == "nt", reason="looks for workers by the name they have elsewhere")
def test_stop_in_jupyter_ends_all_workers_and_the_next_run_goes_on(project):
    manager, client = start_new_kernel(cwd=project, extra_arguments=["--log-level=ERROR"])
    record = project / "img" / "s.local.csv"

    try:
        client.execute_interactive(CELL, timeout=60)
        client.execute(RUN.replace("EPOCHS", "(2, 100_000)").replace("workers=2", "workers=2, max_minutes=1e9"))
        wait_for(record.exists)  # two epochs are done, so many more are not
        assert len(find_workers(manager.provisioner.pid)) == 2
        pressed = time.monotonic()
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=60)["content"]["evalue"] == (
            "stopped: 1 of 2 runs are done and kept; run the cell again to go on"
        )
        assert time.monotonic() - pressed < 5
        wait_for(lambda: not find_workers(manager.provisioner.pid), seconds=10)
        messages, first = [], read_record(record)
        client.execute_interactive(RUN.replace("EPOCHS", "(2, 3)"), timeout=60, output_hook=messages.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    printed = "".join(one["content"].get("text", "") for one in messages)
    assert re.search(r"s: 1 found in s.local.csv, 1 run to train: epochs: 3 \(recorded: (2|100000)\)", printed)
    assert read_record(record)[: len(first)].equals(first)
    assert read_record(record)["value"].tolist() == ["2", "2", "3", "3", "3"]


@pytest.mark.parametrize("seconds", [0.5, 3])
def test_stop_before_training_is_one_line_and_the_next_run_works(project, seconds):
    manager, client = start_new_kernel(cwd=project, extra_arguments=["--log-level=ERROR"])
    begin = f"import sys; sys.path += [{os.path.dirname(program.__file__)!r}]; from program import *; few = load_few()"
    study, messages = 'lab.run(lab.Study("s", build, {}, "units", (4,), (0,)), few)', []  # TensorFlow is imported there
    try:
        client.execute_interactive(begin, timeout=60)
        Timer(seconds, manager.interrupt_kernel).start()
        reply = client.execute_interactive(study, timeout=60)["content"]
        assert re.fullmatch(
            "stopped(: 0 of 1 runs are done and kept)?; run the cell again( to go on)?", reply["evalue"]
        )
        client.execute_interactive(study, timeout=60, output_hook=messages.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "s: 1 of 1 run trained in" in "".join(one["content"].get("text", "") for one in messages)


def test_stop_waits_for_an_import():
    """What is half imported would not be imported again: numpy refuses, for one."""
    press = "class Press:\n    def find_spec(name, *rest):\n        if name == 'pandas': os.kill(os.getpid(), 2)\n"
    begin = "import os, signal, sys, mnist_lab as lab\n" + press + "sys.meta_path.insert(0, Press)\n"
    begin += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background process ignores it
    cell = "try: lab.Study\nexcept KeyboardInterrupt as stopped: print(stopped, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", begin + cell], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("stopped; run the cell again True\n", "")


def test_a_worker_that_is_killed_is_one_line_and_finished_runs_are_kept(project):
    test_process = os.getpid()

    def fatal(noise):
        if noise == 0.3 and os.getpid() != test_process:
            os._exit(9)  # as the system does when memory runs out
        return program.build(4, noise)

    study = Study("s", fatal, {}, vary="noise", over=(0.1, 0.3), seeds=(0,))
    with pytest.raises(LabError, match=r"s: a worker was killed \(too little memory\?\); .* fewer workers") as error:
        run(study, program.load_few(), workers=1)
    assert "\n" not in str(error.value)
    assert set(read_record(project / "img" / "s.local.csv")["value"]) == {"0.1"}


def test_a_failed_study_does_not_end_the_workers_of_the_next(project):
    """A notebook keeps the last error, and with it what the failed study had started, until the next error."""
    study = Study("s", program.build, {}, vary="units", over=(4,), seeds=(0,))
    with pytest.raises(LabError, match="max_minutes") as error:
        run(study, program.load_few(), workers=2, max_minutes=0)
    run(study, program.load_few(), workers=2)
    started = find_workers(os.getpid())
    del error
    gc.collect()
    assert find_workers(os.getpid()) == started != []


def test_a_worker_gets_the_users_modules_as_they_are_now(project, monkeypatch):
    """A worker imports program.py anew, where UNITS is another: that network would not fit the labels."""
    monkeypatch.setattr(program, "UNITS", 10)
    study = Study("s", program.build_by_units, {}, vary="noise", over=(0.1,), seeds=(0,))
    assert run(study, program.load_few(), workers=1).table()["seeds"].tolist() == ["1"]


def test_digits_that_are_no_longer_those_of_load_digits_are_refused():
    data = digest_digits(load_digits("flat", 8))
    with pytest.raises(LabError, match=r"digits were changed after lab.load_digits"):
        workers.find_digits(data, ("flat", 7), 300)
