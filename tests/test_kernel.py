"""The stop button of Jupyter, pressed in a real kernel."""

import os
import time

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from mnist_lab.data import Digits, load_digits
from mnist_lab.record import read_record
from mnist_lab.study import Study, run
from mnist_lab.train import keras

LONG = 100_000
START = """
import mnist_lab as lab
from mnist_lab import keras
digits = lab.load_digits("image")
few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
def build(filters):
    network = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(filters, 5, activation="relu")])
    network.add(keras.layers.Flatten())
    network.add(keras.layers.Dropout(0.5))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return network
"""
RUN = 'lab.run(lab.Study("s", build, {"filters": 2}, "epochs", EPOCHS, seeds=(3,)), few, workers=2)'


@pytest.fixture
def kernel(project):
    manager, client = start_new_kernel(cwd=project, extra_arguments=["--log-level=ERROR"], env={**os.environ})
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def workers() -> list[psutil.Process]:
    """The processes below this one that train."""
    below = psutil.Process().children(recursive=True)
    return [one for one in below if "popen_loky_posix" in " ".join(one.cmdline())]


def test_stop_leaves_no_worker_and_what_was_finished(kernel, project):
    manager, client = kernel
    record = project / "img" / "s.local.csv"
    client.execute_interactive(START, timeout=60)
    message = client.execute(RUN.replace("EPOCHS", f"(2, {LONG})"))
    wait_for(record.exists)  # two epochs are done, so many more are not
    assert len(workers()) == 2
    pressed = time.monotonic()
    manager.interrupt_kernel()
    answer = client.get_shell_msg(timeout=60)
    assert time.monotonic() - pressed < 2
    assert answer["parent_header"]["msg_id"] == message
    assert answer["content"]["ename"] == "KeyboardInterrupt"
    wait_for(lambda: not workers(), seconds=5)

    told = []
    client.execute_interactive(RUN.replace("EPOCHS", "(2, 3)"), timeout=60, output_hook=told.append)
    text = "".join(message["content"].get("text", "") for message in told)
    assert "s: training 1 run on 2 workers" in text

    # this process is not the kernel's, has trained other runs before, and nothing trains beside it
    values = ("2", "3")
    trained_there = read_record(record).drop(columns="seconds")
    record.unlink()
    digits = load_digits("image")
    few = Digits(digits.train[:300], digits.val[:100], digits.test[:100])
    space = {"keras": keras}
    exec(START[START.index("def build") :], space)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dropout(0.1)])(keras.ops.zeros((1, 3)))
    run(Study("s", space["build"], {"filters": 2}, "epochs", (2, 3), seeds=(3,)), few, workers=1)
    trained_here = read_record(record).drop(columns="seconds")
    for value in values:
        there, here = (rows[rows["value"] == value].reset_index(drop=True) for rows in (trained_there, trained_here))
        assert there.equals(here)
