"""How fast training is, as ratios to `model.fit` with Keras's defaults, measured in one go on this machine.

    python tests/benchmarks/benchmark.py [PART ...]     default: all, about twenty minutes; let nothing else run

Parts: `epoch`, an epoch of the 1 x 256 MLP with validation, on one thread against Keras's; `study`, five depths, two
seeds, eight epochs, as processes with start and compilation; `cnn`, an epoch of the CNN with validation, on as many
threads as Keras's, by two workers at once, and under mixed_bfloat16; `augmented`, the same of the augmented CNN on
10,000 images, against Keras's ImageDataGenerator feeding `model.fit`, and the share of the warp. Epochs are timed warm.
"""

import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

from joblib.externals.loky import get_reusable_executor

import mnist_lab as lab
from mnist_lab import keras


def mlp(depth=1):
    network = keras.Sequential([keras.Input((784,))])
    for _ in range(depth):
        network.add(keras.layers.Dense(256, activation="sigmoid"))
        network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    return network


def cnn():
    layers = keras.layers
    network = keras.Sequential([keras.Input((28, 28, 1))])
    network.add(layers.Conv2D(32, 3, activation="relu"))
    network.add(layers.Conv2D(64, 3, activation="relu"))
    for layer in (layers.MaxPooling2D(2), layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu")):
        network.add(layer)
    network.add(layers.Dropout(0.5))
    network.add(layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adadelta(1.0), "categorical_crossentropy", metrics=["accuracy"])
    return network


RANGES = {"rotation_range": 9, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.15}
SHEAR = 0.22  # radian


def augmented_cnn(warp=False):
    layers = keras.layers
    network = keras.Sequential([keras.Input((28, 28, 1))])
    if warp:
        network.add(lab.RandomWarp(**RANGES, shear_range=SHEAR, seed=0))
    network.add(layers.Conv2D(64, 5, activation="relu"))
    network.add(layers.Conv2D(64, 5, activation="relu"))
    for layer in (layers.MaxPooling2D(2), layers.Dropout(0.2), layers.Flatten(), layers.Dense(256, activation="relu")):
        network.add(layer)
    network.add(layers.Dropout(0.5))
    network.add(layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.001), "binary_crossentropy", metrics=["accuracy"])
    return network


class Warm:
    """What a process holds between its epochs."""

    digits = network = trainer = images = None
    batch_size = epochs = 0


def warm_up(
    build, form, batch_size, epochs, ours=True, one_thread=False, policy="float32", images=None, generator=False
) -> None:
    """Compile, and train once: with our trainer, else by `model.fit`, from Keras's `generator` of 2018 if asked."""
    from mnist_lab.training.backend import tf
    from mnist_lab.training.trainer import Trainer

    if one_thread:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_dtype_policy(policy)
    digits = lab.load_digits(form)
    if images:
        digits = lab.Digits(digits.train[:images], digits.val[: images // 5], digits.test)
    Warm.digits, Warm.network, Warm.batch_size, Warm.epochs = digits, build(), batch_size, epochs
    Warm.trainer = Trainer(Warm.network, digits.train, batch_size) if ours else None
    if generator:
        from keras.src.legacy.preprocessing.image import ImageDataGenerator

        warp = ImageDataGenerator(**RANGES, shear_range=math.degrees(SHEAR), fill_mode="nearest")
        Warm.images = warp.flow(digits.train.x, digits.train.y, batch_size=batch_size)
    train()


def train() -> int:
    digits, val = Warm.digits, (Warm.digits.val.x, Warm.digits.val.y)
    if Warm.trainer:
        Warm.trainer.fit(digits.train, epochs=Warm.epochs, seed=0, evaluate={"val": digits.val})
    elif Warm.images:
        Warm.network.fit(Warm.images, epochs=Warm.epochs, validation_data=val, verbose=0)
    else:
        fit = {"batch_size": Warm.batch_size, "epochs": Warm.epochs, "validation_data": val, "verbose": 0}
        Warm.network.fit(digits.train.x, digits.train.y, **fit)
    return Warm.epochs


def time_warp() -> float:
    """Seconds of the warp alone for an epoch's images, compiled, in the process that trains with it."""
    from mnist_lab.training.backend import tf

    warp, x = tf.function(Warm.network.layers[0]), tf.convert_to_tensor(Warm.digits.train.x)
    full = len(x) // Warm.batch_size * Warm.batch_size
    warp(x[: Warm.batch_size], training=True)
    began = time.perf_counter()
    for first in range(0, full, Warm.batch_size):
        warp(x[first : first + Warm.batch_size], training=True)
    return (time.perf_counter() - began) * len(x) / full


def start(*args, **options) -> ProcessPoolExecutor:
    process = ProcessPoolExecutor(1, get_context("spawn"))
    process.submit(warm_up, *args, **options).result()
    return process


def time_epoch(processes: list) -> float:
    """Seconds an epoch, of processes that train at once."""
    began = time.perf_counter()
    trained = [process.submit(train) for process in processes]
    epochs = sum(process.result() for process in trained)
    return (time.perf_counter() - began) / epochs


def compare(title: str, ways: dict[str, list], rounds: int) -> list[dict[str, float]]:
    """Time all ways in turn, and print each against the first, `fit`."""
    times = [{way: time_epoch(processes) for way, processes in ways.items()} for _ in range(rounds)]
    for way in list(ways)[1:]:
        fit, ours = [t["fit"] for t in times], [t[way] for t in times]
        ratios = sorted(a / b for a, b in zip(fit, ours, strict=True))
        print(
            f"{title}, {way}: fit {statistics.median(fit):.2f} s, ours {statistics.median(ours):.2f} s; ratio", end=" "
        )
        print(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} over {rounds} pairs)", flush=True)
    return times


def compare_epochs() -> None:
    args = mlp, "flat", 64, 3
    compare(
        "an epoch of the MLP", {"fit": [start(*args, ours=False)], "one thread": [start(*args, one_thread=True)]}, 7
    )


def start_ways(build, batch_size, fit, **options) -> dict[str, list]:
    args = build, "image", batch_size, 1
    return {
        "fit": [fit],
        "all threads": [start(*args, **options)],
        "two workers": [start(*args, one_thread=True, **options) for _ in range(2)],
        "all threads, mixed_bfloat16": [start(*args, policy="mixed_bfloat16", **options)],
    }


def compare_cnn_epochs() -> None:
    compare("an epoch of the CNN", start_ways(cnn, 128, start(cnn, "image", 128, 1, ours=False)), 5)


def compare_augmented_epochs() -> None:
    fit = start(augmented_cnn, "image", 64, 1, ours=False, images=10_000, generator=True)
    ways = start_ways(partial(augmented_cnn, warp=True), 64, fit, images=10_000)
    times = compare("an augmented epoch", ways, 5)
    warp = ways["all threads"][0].submit(time_warp).result()
    print(f"share of the warp: {100 * warp / statistics.median(t['all threads'] for t in times):.1f} %")


def train_study(ours: bool) -> None:
    """Depths 1 to 5, seeds 0 and 1, eight epochs each: run as a process of its own."""
    digits = lab.load_digits("flat")
    if not ours:
        for depth, seed in ((depth, seed) for depth in range(1, 6) for seed in range(2)):
            keras.utils.set_random_seed(seed)
            val = digits.val.x, digits.val.y
            mlp(depth).fit(digits.train.x, digits.train.y, 64, epochs=8, validation_data=val, verbose=0)
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
    ratio = seconds["fit"] / seconds["ours"]
    print(f"a study: fit {seconds['fit']:.0f} s, ours {seconds['ours']:.0f} s; ratio {ratio:.1f}")


PARTS = {"epoch": compare_epochs, "study": compare_studies, "cnn": compare_cnn_epochs}
PARTS |= {"augmented": compare_augmented_epochs}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("study-"):
        train_study(ours=sys.argv[1] == "study-ours")
    else:
        for part in sys.argv[1:] or PARTS:
            PARTS[part]()
