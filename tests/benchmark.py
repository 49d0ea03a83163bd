"""How fast training is, as ratios to `model.fit` with Keras's defaults, measured in one go on this machine.

python tests/benchmark.py            both (about ten minutes; let nothing else run)
python tests/benchmark.py epoch      an epoch of the 1 x 256 MLP with validation, warm: one thread against Keras's
python tests/benchmark.py study      five depths, two seeds, eight epochs: whole processes, with start and compiling
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from joblib.externals.loky import get_reusable_executor

import mnist_lab as lab

ROUNDS = 7
EPOCHS = 3  # a call


def mlp(depth=1):
    keras = lab.keras
    network = keras.Sequential([keras.Input((784,))])
    for _ in range(depth):
        network.add(keras.layers.Dense(256, activation="sigmoid"))
        network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    return network


def keras_fit(network, digits, epochs=1):
    val = digits.val.x, digits.val.y
    network.fit(digits.train.x, digits.train.y, batch_size=64, epochs=epochs, validation_data=val, verbose=0)


class Warm:
    """What each of two processes holds between its epochs."""

    digits = network = trainer = None


def warm_up(ours: bool) -> None:
    from mnist_lab.train import Trainer, use_one_thread

    if ours:
        use_one_thread()
    Warm.digits, Warm.network = lab.load_digits("flat"), mlp()
    Warm.trainer = Trainer(Warm.network, Warm.digits.train, 64) if ours else None
    time_epoch()


def time_epoch() -> float:
    began = time.perf_counter()
    if Warm.trainer:
        Warm.trainer.fit(Warm.digits.train, epochs=EPOCHS, seed=0, evaluate={"val": Warm.digits.val})
    else:
        keras_fit(Warm.network, Warm.digits, epochs=EPOCHS)
    return (time.perf_counter() - began) / EPOCHS


def compare_epochs() -> None:
    ours, keras = (ProcessPoolExecutor(1, get_context("spawn")) for _ in range(2))
    ours.submit(warm_up, True).result()
    keras.submit(warm_up, False).result()
    pairs = [(keras.submit(time_epoch).result(), ours.submit(time_epoch).result()) for _ in range(ROUNDS)]
    fit, own = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(f"an epoch: fit {fit:.2f} s, ours {own:.2f} s; ratio {statistics.median(ratios):.1f}", end=" ")
    print(f"({ratios[0]:.1f} to {ratios[-1]:.1f} over {ROUNDS} pairs)")


def whole_study(ours: bool) -> None:
    """Depths 1 to 5, seeds 0 and 1, eight epochs each: run as a process of its own."""
    digits = lab.load_digits("flat")
    if not ours:
        for depth in range(1, 6):
            for seed in range(2):
                lab.keras.utils.set_random_seed(seed)
                keras_fit(mlp(depth), digits, epochs=8)
        return
    fixed = {"batch_size": 64, "epochs": 8}
    lab.run(lab.Study("benchmark", build=mlp, fixed=fixed, vary="depth", over=range(1, 6), seeds=range(2)), digits)
    get_reusable_executor().shutdown(wait=True)
    print(f"peak memory of a worker: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB")


def compare_studies() -> None:
    seconds = {}
    for way in ("ours", "fit"):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(f"{folder}/img")
            began = time.perf_counter()
            subprocess.run([sys.executable, os.path.abspath(__file__), f"study-{way}"], cwd=folder, check=True)
            seconds[way] = time.perf_counter() - began
    print(f"a study: fit {seconds['fit']:.0f} s, ours {seconds['ours']:.0f} s; ratio", end=" ")
    print(f"{seconds['fit'] / seconds['ours']:.1f}")


if __name__ == "__main__":
    told = sys.argv[1:] or ["epoch", "study"]
    parts = {
        "epoch": compare_epochs,
        "study": compare_studies,
        "study-ours": lambda: whole_study(ours=True),
        "study-fit": lambda: whole_study(ours=False),
    }
    for part in told:
        parts[part]()
