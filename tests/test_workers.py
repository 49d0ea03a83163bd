import inspect
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import program
import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from mnist_lab.data import Digits, digest_digits, load_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.code import Code
from mnist_lab.studies.record import read_record
from mnist_lab.studies.study import Study, run
from mnist_lab.training import workers
from mnist_lab.training.backend import keras
from mnist_lab.training.workers import pack_builder


class Scale(keras.layers.Layer):
    """A class of a notebook's own, which a worker must know."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def call(self, x):
        return self.by * x


def build(filters):
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(filters, 5, activation="relu")])
    network.add(keras.layers.Flatten())
    network.add(Scale(2.0))
    network.add(keras.layers.Dropout(0.5))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network


FIRST_CELL = f"""
import mnist_lab as lab
from mnist_lab import keras
digits = lab.load_digits("image")
few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
{inspect.getsource(Scale)}
{inspect.getsource(build)}
"""
RUN = 'lab.run(lab.Study("s", build, {"filters": 2}, "epochs", EPOCHS, seeds=(3,)), few, workers=2)'


@pytest.fixture
def kernel(project):
    manager, client = start_new_kernel(cwd=project, extra_arguments=["--log-level=ERROR"])
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def find_workers(kernel_id: int) -> list[psutil.Process]:
    below = psutil.Process(kernel_id).children(recursive=True)
    return [one for one in below if "popen_loky_posix" in " ".join(one.cmdline())]


@pytest.mark.skipif(os.name == "nt", reason="looks for workers by the name they have elsewhere")
def test_stop_leaves_no_worker_and_the_next_run_goes_on_with_the_same_bits(kernel, project):
    manager, client = kernel
    record = project / "img" / "s.local.csv"
    client.execute_interactive(FIRST_CELL, timeout=60)
    client.execute(RUN.replace("EPOCHS", "(2, 100_000)"))
    wait_for(record.exists)  # two epochs are done, so many more are not
    kernel_id = manager.provisioner.pid
    assert len(find_workers(kernel_id)) == 2
    pressed = time.monotonic()
    manager.interrupt_kernel()
    answer = client.get_shell_msg(timeout=60)
    assert time.monotonic() - pressed < 2
    assert answer["content"]["ename"] == "KeyboardInterrupt"
    wait_for(lambda: not find_workers(kernel_id), seconds=5)

    messages = []
    client.execute_interactive(RUN.replace("EPOCHS", "(2, 3)"), timeout=60, output_hook=messages.append)
    assert "training 1 run on 2 workers" in "".join(message["content"].get("text", "") for message in messages)

    # the first was trained in a fresh kernel with the endless one beside it; now in this process, with nothing beside
    from_kernel = read_record(record).drop(columns=["seconds", "source"])
    record.unlink()
    digits = load_digits("image")
    few = Digits(digits.train[:300], digits.val[:100], digits.test[:100])
    run(Study("s", build, {"filters": 2}, "epochs", (2, 3), seeds=(3,)), few, workers=1)
    from_here = read_record(record).drop(columns=["seconds", "source"])
    order = {"by": ["value", "epoch"], "ignore_index": True}
    assert from_here.sort_values(**order).equals(from_kernel.sort_values(**order))


def test_a_worker_that_is_killed_is_one_line_and_finished_runs_are_kept(project):
    test_process = os.getpid()

    def fatal(noise):
        if noise == 0.3 and os.getpid() != test_process:
            os._exit(9)  # as the system does when memory runs out
        return program.build(4, noise)

    study = Study("s", fatal, {}, vary="noise", over=(0.1, 0.3), seeds=(0,))
    with pytest.raises(LabError, match=r"s: a worker was killed, probably out of memory; .* fewer workers") as error:
        run(study, program.load_few(), workers=1)
    assert "\n" not in str(error.value)
    assert set(read_record(project / "img" / "s.local.csv")["value"]) == {"0.1"}


def test_a_worker_gets_the_users_modules_as_they_are_now(monkeypatch):
    monkeypatch.setattr(program, "UNITS", 6)
    builder = pack_builder(program.count_units, {}, Code(program.count_units).modules, "study s")
    read = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[0]())"
    assert subprocess.run([sys.executable, "-c", read], input=builder, capture_output=True).stdout.split() == [b"6"]


def test_digits_that_are_no_longer_those_of_load_digits_are_refused():
    fit = {"data": digest_digits(load_digits("flat", 8))}
    job = SimpleNamespace(digits=("flat", 7), fit=fit, train_size=300)
    with pytest.raises(LabError, match=r"the digits are not those that lab.load_digits returns; make new ones"):
        workers._find_digits(job)


def test_a_builder_that_no_worker_can_be_sent_is_refused_in_one_line():
    lock = threading.Lock()
    with pytest.raises(LabError, match=r"study s: build\(\) uses what no worker can be sent \(TypeError: .*lock"):
        pack_builder(lambda: lock, {}, set(), "study s")
