"""How fast training is, as ratios to `model.fit` with Keras's defaults, measured in one go on this machine.

python tests/benchmark.py            all (about twenty minutes; let nothing else run)
python tests/benchmark.py epoch      an epoch of the 1 x 256 MLP with validation, warm: one thread against Keras's
python tests/benchmark.py study      five depths, two seeds, eight epochs: whole processes, with start and compiling
python tests/benchmark.py cnn        an epoch of the CNN with validation, warm: on as many threads as Keras's, by two
                                     workers at once, and under mixed_bfloat16
python tests/benchmark.py augmented  an epoch of the augmented CNN on 10,000 images, warm: against Keras's
                                     ImageDataGenerator feeding `model.fit`; and the warp's own share of it
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


def mlp(depth=1):
    keras = lab.keras
    network = keras.Sequential([keras.Input((784,))])
    for _ in range(depth):
        network.add(keras.layers.Dense(256, activation="sigmoid"))
        network.add(keras.layers.Dropout(0.2))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(keras.optimizers.Adam(0.01), "categorical_crossentropy", metrics=["accuracy"])
    return network


def cnn():
    layers = lab.keras.layers
    network = lab.keras.Sequential([lab.keras.Input((28, 28, 1))])
    network.add(layers.Conv2D(32, 3, activation="relu"))
    network.add(layers.Conv2D(64, 3, activation="relu"))
    for layer in (layers.MaxPooling2D(2), layers.Dropout(0.25), layers.Flatten(), layers.Dense(128, activation="relu")):
        network.add(layer)
    network.add(layers.Dropout(0.5))
    network.add(layers.Dense(10, activation="softmax"))
    network.compile(lab.keras.optimizers.Adadelta(1.0), "categorical_crossentropy", metrics=["accuracy"])
    return network


RANGES = {"rotation_range": 9, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.15}
SHEAR = 0.22  # radian


def augmented_cnn(warp=False):
    layers = lab.keras.layers
    network = lab.keras.Sequential([lab.keras.Input((28, 28, 1))])
    if warp:
        network.add(lab.RandomWarp(**RANGES, shear_range=SHEAR, seed=0))
    network.add(layers.Conv2D(64, 5, activation="relu"))
    network.add(layers.Conv2D(64, 5, activation="relu"))
    for layer in (layers.MaxPooling2D(2), layers.Dropout(0.2), layers.Flatten(), layers.Dense(256, activation="relu")):
        network.add(layer)
    network.add(layers.Dropout(0.5))
    network.add(layers.Dense(10, activation="softmax"))
    network.compile(lab.keras.optimizers.Adam(0.001), "binary_crossentropy", metrics=["accuracy"])
    return network


def keras_fit(network, digits, batch_size=64, epochs=1):
    val = digits.val.x, digits.val.y
    network.fit(digits.train.x, digits.train.y, batch_size=batch_size, epochs=epochs, validation_data=val, verbose=0)


class Warm:
    """What a process holds between its epochs."""

    digits = network = trainer = generator = None
    batch_size = epochs = 0


def warm_up(
    build, form, batch_size, epochs, ours=True, one_thread=False, policy="float32", images=None, generator=False
) -> None:
    """Compile, and train once: with our trainer, else by `model.fit`, from Keras's `generator` of 2018 if asked."""
    from mnist_lab.train import Trainer, use_one_thread

    if one_thread:
        use_one_thread()
    lab.keras.config.set_dtype_policy(policy)
    Warm.digits, Warm.network, Warm.batch_size, Warm.epochs = lab.load_digits(form), build(), batch_size, epochs
    if images:
        digits = Warm.digits
        Warm.digits = lab.Digits(digits.train[:images], digits.val[: images // 5], digits.test)
    Warm.trainer = Trainer(Warm.network, Warm.digits.train, batch_size) if ours else None
    if generator:
        from keras.src.legacy.preprocessing.image import ImageDataGenerator

        Warm.generator = ImageDataGenerator(**RANGES, shear_range=math.degrees(SHEAR), fill_mode="nearest")
    train()


def train() -> int:
    if Warm.trainer:
        Warm.trainer.fit(Warm.digits.train, epochs=Warm.epochs, seed=0, evaluate={"val": Warm.digits.val})
    elif Warm.generator:
        images = Warm.generator.flow(Warm.digits.train.x, Warm.digits.train.y, batch_size=Warm.batch_size)
        val = Warm.digits.val.x, Warm.digits.val.y
        Warm.network.fit(images, epochs=Warm.epochs, validation_data=val, verbose=0)
    else:
        keras_fit(Warm.network, Warm.digits, Warm.batch_size, Warm.epochs)
    return Warm.epochs


def time_warp() -> float:
    """Seconds of the warp alone for an epoch's images, compiled, in the process that trains with it."""
    import tensorflow as tf

    warp, x = tf.function(Warm.network.layers[0]), tf.convert_to_tensor(Warm.digits.train.x)
    full = len(x) // Warm.batch_size * Warm.batch_size
    warp(x[: Warm.batch_size], training=True)
    began = time.perf_counter()
    for first in range(0, full, Warm.batch_size):
        warp(x[first : first + Warm.batch_size], training=True)
    return (time.perf_counter() - began) * len(x) / full


def start(*how, **options) -> ProcessPoolExecutor:
    process = ProcessPoolExecutor(1, get_context("spawn"))
    process.submit(warm_up, *how, **options).result()
    return process


def time_epoch(processes: list) -> float:
    """Seconds an epoch, of processes that train at once."""
    began = time.perf_counter()
    trained = [process.submit(train) for process in processes]
    epochs = sum(process.result() for process in trained)
    return (time.perf_counter() - began) / epochs


def tell(what: str, fit: list[float], ours: list[float]) -> None:
    ratios = sorted(a / b for a, b in zip(fit, ours, strict=True))
    print(f"{what}: fit {statistics.median(fit):.2f} s, ours {statistics.median(ours):.2f} s; ratio", end=" ")
    print(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} pairs)", flush=True)


def tell_ways(what: str, ways: dict, times: list[dict]) -> None:
    """Tell each way against the first, `fit`."""
    for way in list(ways)[1:]:
        tell(f"{what}, {way}", [t["fit"] for t in times], [t[way] for t in times])


def compare_epochs() -> None:
    how = mlp, "flat", 64, 3
    fit, ours = start(*how, ours=False), start(*how, one_thread=True)
    pairs = [(time_epoch([fit]), time_epoch([ours])) for _ in range(7)]
    tell("an epoch of the MLP, one thread", *zip(*pairs, strict=True))


def compare_cnn_epochs() -> None:
    how = cnn, "image", 128, 1
    ways = {
        "fit": [start(*how, ours=False)],
        "all threads": [start(*how)],
        "two workers": [start(*how, one_thread=True) for _ in range(2)],
        "all threads, mixed_bfloat16": [start(*how, policy="mixed_bfloat16")],
    }
    times = [{way: time_epoch(processes) for way, processes in ways.items()} for _ in range(5)]
    tell_ways("an epoch of the CNN", ways, times)


def compare_augmented_epochs() -> None:
    how, augmented = ("image", 64, 1), partial(augmented_cnn, warp=True)
    ways = {
        "fit": [start(augmented_cnn, *how, ours=False, images=10_000, generator=True)],
        "all threads": [start(augmented, *how, images=10_000)],
        "two workers": [start(augmented, *how, images=10_000, one_thread=True) for _ in range(2)],
        "all threads, mixed_bfloat16": [start(augmented, *how, images=10_000, policy="mixed_bfloat16")],
    }
    times = []
    for _ in range(5):
        times.append({way: time_epoch(processes) for way, processes in ways.items()})
        times[-1]["warp"] = ways["all threads"][0].submit(time_warp).result()
    tell_ways("an augmented epoch", ways, times)
    shares = sorted(100 * t["warp"] / t["all threads"] for t in times)
    print(f"the warp's share: {statistics.median(shares):.1f} % ({shares[0]:.1f} to {shares[-1]:.1f})")


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
    ratio = seconds["fit"] / seconds["ours"]
    print(f"a study: fit {seconds['fit']:.0f} s, ours {seconds['ours']:.0f} s; ratio {ratio:.1f}")


if __name__ == "__main__":
    told = sys.argv[1:] or ["epoch", "study", "cnn", "augmented"]
    parts = {
        "epoch": compare_epochs,
        "study": compare_studies,
        "cnn": compare_cnn_epochs,
        "augmented": compare_augmented_epochs,
        "study-ours": lambda: whole_study(ours=True),
        "study-fit": lambda: whole_study(ours=False),
    }
    for part in told:
        parts[part]()
