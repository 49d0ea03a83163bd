"""A small study, run as a process of its own by tests that watch it or kill it."""

import functools

import mnist_lab as lab
from mnist_lab import keras

UNITS = 4  # a test changes it


def build_from_outside(rate):
    return build(UNITS, rate)


@functools.cache
def build_once(rate):
    return build(4, rate)


def build(units, rate=0.1, optimizer="adam"):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units), keras.layers.Dropout(rate)])
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(optimizer=optimizer, loss="mse", metrics=["accuracy"])
    return network


def main():
    digits = lab.load_digits("flat")
    few = lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
    over = {"adam": {"units": 4}, "sgd": {"units": 5, "optimizer": keras.optimizers.SGD(0.1)}}  # it starts TensorFlow
    study = lab.Study("s", build, {"epochs": 3}, vary="network", over=over, seeds=range(4), keep="val")
    lab.save(lab.plot_curves(lab.run(study, few, workers=2)), "s")


if __name__ == "__main__":
    main()
