"""How fast training is, as ratios to `model.fit` with Keras's defaults, measured in one go on this machine.

    python tests/benchmarks/benchmark.py [PART ...]     default: all, about an hour; let nothing else run

Parts, with the networks of the notebooks: `epoch`, an epoch of the MLP with validation, on one thread against Keras's;
`study`, five depths, two seeds, eight epochs, as processes with start and compilation; `cnn`, an epoch of the CNN on
10,000 images with validation, on as many threads as Keras's, and by two workers at once; `augmented`, the same of the
augmented CNN, against Keras's ImageDataGenerator feeding `model.fit`; `fast`, without validation: one epoch of Keras's
example by `fit`, which needs several, against the whole training of the last network, with and without compiling it;
`agreement`, whether training is as good as `fit`: the MLP, eight epochs, two times twenty seeds each way.
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

import numpy as np
from joblib import Parallel, delayed

import mnist_lab as lab
from mnist_lab import keras
from mnist_lab.training.trainer import Trainer
from mnist_lab.training.workers import prepare_process

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "helpers"))
from cells import define  # noqa: E402

RANGES = {"rotation_range": 9, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.15}
SHEAR = 0.22  # radian


def read_functions(notebook: str) -> dict:
    """The functions that a notebook defines."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return define("\n\n".join(text for text in texts if text.startswith("def ")), keras=keras, lab=lab)


def build(notebook: str, name: str, *args, **settings):
    """A network of a notebook."""
    return read_functions(notebook)[name](*args, **settings)


MLP = partial(build, "1_mlp", "mlp")
CNN = partial(build, "2_cnn", "cnn", 3, "Adadelta", 1.0, "categorical_crossentropy")
AUGMENTED = partial(build, "3_augmentation", "cnn")
EXAMPLE, FAST = partial(build, "7_fast", "keras_example"), partial(build, "7_fast", "fast", steps=280)
warm = {}  # what a process holds between its trainings


def warm_up(network, form, batch_size, way="all threads", images=50_000, epochs=1, validate=True) -> None:
    """Compile, and train once: with our trainer, on all threads or one, or with all built "anew" each time.

    Else by `model.fit`: on arrays ("fit"), or from Keras's generator of 2018 ("warped").
    """
    if way == "one thread":
        prepare_process()
    digits = lab.load_digits(form)
    train, val = digits.train[:images], digits.val[: images // 5]
    if way in ("fit", "warped"):
        data = (train.x, train.y, batch_size)
        if way == "warped":
            from keras.src.legacy.preprocessing.image import ImageDataGenerator

            warp = ImageDataGenerator(**RANGES, shear_range=math.degrees(SHEAR), fill_mode="nearest")
            data = (warp.flow(*data),)
        validation = (val.x, val.y) if validate else None
        warm["fit"] = partial(network().fit, *data, validation_data=validation, verbose=0)
    else:
        options = {"epochs": epochs, "seed": 0, "evaluate": {"val": val} if validate else {}}
        trainer = Trainer(network(), train, batch_size)
        anew = way == "anew"
        warm["fit"] = lambda: (Trainer(network(), train, batch_size) if anew else trainer).fit(train, **options)
    train_once()


def train_once() -> None:
    warm["fit"]()


def start(*args, **options) -> ProcessPoolExecutor:
    process = ProcessPoolExecutor(1, get_context("spawn"))
    process.submit(warm_up, *args, **options).result()
    return process


def time_training(processes: list) -> float:
    """Seconds a training, of processes that train at once."""
    began = time.perf_counter()
    for training in [process.submit(train_once) for process in processes]:
        training.result()
    return (time.perf_counter() - began) / len(processes)


def compare(title: str, rounds: int, ways: dict[str, list]) -> None:
    """Time all ways in turn, and print each against the first, `fit`."""
    times = [{way: time_training(processes) for way, processes in ways.items()} for _ in range(rounds)]
    for way in list(ways)[1:]:
        fit, ours = [t["fit"] for t in times], [t[way] for t in times]
        ratios = sorted(a / b for a, b in zip(fit, ours, strict=True))
        medians = f"fit {statistics.median(fit):.2f} s, ours {statistics.median(ours):.2f} s"
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} over {rounds} pairs)"
        print(f"{title}, {way}: {medians}; ratio {spread}", flush=True)


def compare_convolutional(title: str, plain, network, batch_size: int, fit: str) -> None:
    args, few = ("image", batch_size), {"images": 10_000}
    ways = {"fit": [start(plain, *args, fit, **few)], "all threads": [start(network, *args, **few)]}
    ways["two workers"] = [start(network, *args, "one thread", **few) for _ in range(2)]
    compare(title, 5, ways)


def train_study(ours: bool) -> None:
    """Depths 1 to 5, seeds 0 and 1, eight epochs each: run as a process of its own."""
    digits = lab.load_digits("flat")
    if not ours:
        for depth, seed in ((depth, seed) for depth in range(1, 6) for seed in range(2)):
            keras.utils.set_random_seed(seed)
            val = digits.val.x, digits.val.y
            MLP(depth).fit(digits.train.x, digits.train.y, 64, epochs=8, validation_data=val, verbose=0)
        return
    mlp = read_functions("1_mlp")["mlp"]
    lab.run(lab.Study("benchmark", mlp, {"batch_size": 64, "epochs": 8}, "depth", range(1, 6), range(2)), digits)


def train_seed(ours: bool, seed: int) -> float:
    prepare_process()
    keras.utils.set_random_seed(seed)
    digits, network = lab.load_digits("flat"), MLP()
    train, val = digits.train, digits.val
    if ours:
        return Trainer(network, train, 64).fit(train, epochs=8, seed=seed, evaluate={"val": val})["val_accuracy"][-1]
    history = network.fit(train.x, train.y, 64, epochs=8, validation_data=(val.x, val.y), verbose=0).history
    return history["val_accuracy"][-1]


def compare_accuracy(seeds: range) -> None:
    """Print the difference at the last epoch, from the same first weights."""
    trainings = [delayed(train_seed)(ours, seed) for seed in seeds for ours in (True, False)]
    accuracies = 100 * np.array(Parallel(2)(trainings))
    difference = lab.difference(accuracies[::2], accuracies[1::2])
    print(f"seeds {seeds[0]} to {seeds[-1]}: validation accuracy (pp), ours − fit {difference}")


def main(part: str) -> None:
    if part in ("study-ours", "study-fit"):
        train_study(ours=part == "study-ours")
    elif part == "epoch":
        ways = {way: [start(MLP, "flat", 64, way)] for way in ("fit", "one thread")}
        compare("an epoch of the MLP", 7, ways)
    elif part == "cnn":
        compare_convolutional("an epoch of the CNN", CNN, CNN, 128, "fit")
    elif part == "augmented":
        network = partial(AUGMENTED, RANGES | {"shear_range": SHEAR})
        compare_convolutional("an augmented epoch", partial(AUGMENTED, {}), network, 64, "warped")
    elif part == "fast":
        options = {"images": 35_840, "epochs": 2, "validate": False}
        ways = {"fit": [start(EXAMPLE, "image", 128, "fit", validate=False)]}
        ways |= {way: [start(FAST, "image", 256, way, **options)] for way in ("all threads", "anew")}
        compare("an epoch of Keras's example against the whole training of the fast network", 9, ways)
    elif part == "agreement":
        compare_accuracy(range(20))
        compare_accuracy(range(20, 40))
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
    for one in sys.argv[1:] or ["epoch", "study", "cnn", "augmented", "fast", "agreement"]:
        main(one)
