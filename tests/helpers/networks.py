"""Networks for tests of training."""

from mnist_lab import keras


def make_network(*inner, shape=(784,), **compiled):
    """Softmax over ten outputs, behind these layers; `compiled` are arguments of `compile`."""
    network = keras.Sequential([keras.Input(shape), *inner, keras.layers.Dense(10, activation="softmax")])
    network.compile(**{"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]} | compiled)
    return network
