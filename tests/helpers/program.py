"""A small study, run as a process of its own by tests that watch it or kill it."""

import mnist_lab as lab
from mnist_lab import keras

METRICS = ["accuracy"]  # a test changes them


def build(units, noise=0.1):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units)])
    network.add(keras.layers.GaussianNoise(noise))  # so XLA is not used, which takes seconds to compile
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(optimizer="adam", loss="mse", metrics=METRICS)
    return network


def load_few():
    digits = lab.load_digits("flat")
    return lab.Digits(digits.train[:300], digits.val[:100], digits.test[:100])


def main():
    study = lab.Study("s", build, {"epochs": 2}, vary="units", over=(4, 5), seeds=range(3), keep="val")
    lab.save(lab.plot_curves(lab.run(study, load_few(), workers=2)), "s")


if __name__ == "__main__":
    main()
