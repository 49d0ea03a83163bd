"""Networks for tests of training."""

import mnist_lab as lab
from mnist_lab import keras

METRICS = ["accuracy"]  # a test changes them


def make_network(*inner, shape=(784,), **compiled):
    """Softmax over ten outputs, behind these layers; `compiled` are arguments of `compile`."""
    network = keras.Sequential([keras.Input(shape), *inner, keras.layers.Dense(10, activation="softmax")])
    network.compile(**{"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]} | compiled)
    return network


def build(units, noise=0.1):
    noise = keras.layers.GaussianNoise(noise)  # so XLA is not used, which takes seconds to compile
    return make_network(keras.layers.Dense(units), noise, loss="mse", metrics=METRICS)


def load_few():
    digits = lab.load_digits("flat")
    return lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])
