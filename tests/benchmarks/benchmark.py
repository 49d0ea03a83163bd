"""How fast training is, as ratios to `model.fit` with Keras's defaults, measured in one go on this machine.

    python tests/benchmarks/benchmark.py [PART ...]     default: all, about twenty minutes; let nothing else run

Parts: `epoch`, an epoch of the 1 x 256 MLP with validation, on one thread against Keras's; `study`, five depths, two
seeds, eight epochs, as processes with start and compilation; `cnn`, an epoch of the CNN with validation, on as many
threads as Keras's, by two workers at once, and under mixed_bfloat16; `augmented`, the same of the augmented CNN on
10,000 images, against Keras's ImageDataGenerator feeding `model.fit`; `fast`, networks of 7_fast.ipynb, without
validation: one epoch of Keras's example by `fit`, which needs several, against the whole training of the last network,
with and without compiling it, and under mixed_bfloat16.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import mnist_lab as lab
from mnist_lab import keras

RANGES = {"rotation_range": 9, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.15}
SHEAR = 0.22  # radian


def mlp(depth=1):
    network = keras.Sequential([keras.Input((784,))])
    for _ in range(depth):
        network.add(keras.layers.Dense(256, activation="sigmoid"))
        network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    return network


def cnn(filters=(32, 64), kernel_size=3, dropout=0.25, units=128, warp=False, augmented=False):
    layers = [lab.RandomWarp(**RANGES, shear_range=SHEAR, seed=0)] if warp else []
    layers += [keras.layers.Conv2D(number, kernel_size, activation="relu") for number in filters]
    layers += [keras.layers.MaxPooling2D(2), keras.layers.Dropout(dropout), keras.layers.Flatten()]
    layers += [keras.layers.Dense(units, activation="relu"), keras.layers.Dropout(0.5)]
    network = keras.Sequential([keras.Input((28, 28, 1)), *layers, keras.layers.Dense(10, activation="softmax")])
    optimizer = keras.optimizers.Adam(0.001) if augmented else keras.optimizers.Adadelta(1.0)
    network.compile(optimizer, "binary_crossentropy" if augmented else "categorical_crossentropy", metrics=["accuracy"])
    return network


augmented_cnn = partial(cnn, (64, 64), 5, 0.2, 256, augmented=True)


def define(name: str, **settings):
    """A network of 7_fast.ipynb."""
    notebook = json.loads((Path(__file__).parents[2] / "notebooks" / "7_fast.ipynb").read_text(encoding="utf-8"))
    names, texts = {"keras": keras}, ("".join(cell["source"]) for cell in notebook["cells"])
    exec(next(text for text in texts if text.startswith(f"def {name}(")), names)
    return names[name](**settings)


warm = {}  # what a process holds between its trainings


def warm_up(
    build, form, batch_size, way="ours", one_thread=False, policy="float32", images=50_000, epochs=1, validate=True
):
    """Compile, and train once: with our trainer ("ours"), or with it and a network just built each time ("anew").

    Else by `model.fit`: on arrays ("fit"), or from Keras's generator of 2018 ("warped").
    """
    from mnist_lab.training.backend import tf
    from mnist_lab.training.trainer import Trainer

    if one_thread:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.config.set_dtype_policy(policy)
    digits, network = lab.load_digits(form), build()
    train, val = digits.train[:images], digits.val[: images // 5]
    validation = {"validation_data": (val.x, val.y) if validate else None, "verbose": 0}
    fit = partial(network.fit, train.x, train.y, batch_size, **validation)
    if way == "anew":
        fit = partial(train_anew, build, train, batch_size, epochs)
    elif way == "ours":
        evaluate = {"val": val} if validate else {}
        fit = partial(Trainer(network, train, batch_size).fit, train, epochs=epochs, seed=0, evaluate=evaluate)
    elif way == "warped":
        from keras.src.legacy.preprocessing.image import ImageDataGenerator

        warp = ImageDataGenerator(**RANGES, shear_range=math.degrees(SHEAR), fill_mode="nearest")
        fit = partial(network.fit, warp.flow(train.x, train.y, batch_size), **validation)
    warm["fit"] = fit
    fit()


def train_anew(build, train, batch_size, epochs) -> None:
    from mnist_lab.training.trainer import Trainer

    Trainer(build(), train, batch_size).fit(train, epochs=epochs, seed=0)


def train_epoch() -> None:
    warm["fit"]()


def start(*args, **options) -> ProcessPoolExecutor:
    process = ProcessPoolExecutor(1, get_context("spawn"))
    process.submit(warm_up, *args, **options).result()
    return process


def time_epoch(processes: list) -> float:
    """Seconds an epoch, of processes that train at once."""
    began = time.perf_counter()
    for epoch in [process.submit(train_epoch) for process in processes]:
        epoch.result()
    return (time.perf_counter() - began) / len(processes)


def compare(title: str, ways: dict[str, list], rounds: int) -> None:
    """Time all ways in turn, and print each against the first, `fit`."""
    times = [{way: time_epoch(processes) for way, processes in ways.items()} for _ in range(rounds)]
    for way in list(ways)[1:]:
        fit, ours = [t["fit"] for t in times], [t[way] for t in times]
        ratios = sorted(a / b for a, b in zip(fit, ours, strict=True))
        medians = f"fit {statistics.median(fit):.2f} s, ours {statistics.median(ours):.2f} s"
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} over {rounds} pairs)"
        print(f"{title}, {way}: {medians}; ratio {spread}", flush=True)


def compare_convolutional(title: str, build, batch_size, fit, **options) -> None:
    args = build, "image", batch_size
    ways = {
        "fit": [fit],
        "all threads": [start(*args, **options)],
        "two workers": [start(*args, one_thread=True, **options) for _ in range(2)],
        "all threads, mixed_bfloat16": [start(*args, policy="mixed_bfloat16", **options)],
    }
    compare(title, ways, 5)


def train_study(ours: bool) -> None:
    """Depths 1 to 5, seeds 0 and 1, eight epochs each: run as a process of its own."""
    digits = lab.load_digits("flat")
    if not ours:
        for depth, seed in ((depth, seed) for depth in range(1, 6) for seed in range(2)):
            keras.utils.set_random_seed(seed)
            val = digits.val.x, digits.val.y
            mlp(depth).fit(digits.train.x, digits.train.y, 64, epochs=8, validation_data=val, verbose=0)
        return
    lab.run(lab.Study("benchmark", mlp, {"batch_size": 64, "epochs": 8}, "depth", range(1, 6), range(2)), digits)


def main(part: str) -> None:
    if part in ("study-ours", "study-fit"):
        train_study(ours=part == "study-ours")
    elif part == "epoch":
        ways = {"fit": [start(mlp, "flat", 64, "fit")], "one thread": [start(mlp, "flat", 64, one_thread=True)]}
        compare("an epoch of the MLP", ways, 7)
    elif part == "cnn":
        compare_convolutional("an epoch of the CNN", cnn, 128, start(cnn, "image", 128, "fit"))
    elif part == "augmented":
        fit = start(augmented_cnn, "image", 64, "warped", images=10_000)
        compare_convolutional("an augmented epoch", partial(augmented_cnn, warp=True), 64, fit, images=10_000)
    elif part == "fast":
        args, options = ("image", 256), {"images": 35_840, "epochs": 2, "validate": False}
        start_fast = partial(start, partial(define, "fast", steps=280), *args, **options)
        ways = {
            "fit": [start(partial(define, "keras_example"), "image", 128, "fit", validate=False)],
            "compiled": [start_fast()],
            "compiled anew": [start_fast(way="anew")],
            "compiled, mixed_bfloat16": [start_fast(policy="mixed_bfloat16")],
        }
        compare("an epoch of Keras's example against the whole training of the fast network", ways, 9)
    elif part == "study":
        seconds = []
        for way in ("fit", "ours"):
            with tempfile.TemporaryDirectory() as folder:
                os.mkdir(f"{folder}/img")
                Path(folder, "img", "sources.json").write_text("{}")  # a record of its own, in which no run is found
                began = time.perf_counter()
                subprocess.run([sys.executable, os.path.abspath(__file__), f"study-{way}"], cwd=folder, check=True)
                seconds.append(time.perf_counter() - began)
        print(f"a study: fit {seconds[0]:.0f} s, ours {seconds[1]:.0f} s; ratio {seconds[0] / seconds[1]:.1f}")


if __name__ == "__main__":
    for one in sys.argv[1:] or ["epoch", "study", "cnn", "augmented", "fast"]:
        main(one)
