import functools

import pytest
from networks import make_network

from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras
from mnist_lab.training.checks import build_model, check_start, seeded

layers, initializers = keras.layers, keras.initializers


class Block(layers.Layer):
    """A layer of a student's own, with a layer inside."""

    def __init__(self, initializer):
        super().__init__()
        self.inner = layers.Dense(8, kernel_initializer=initializer)

    def call(self, x):
        return self.inner(x)


def start(build, few):
    with seeded(1):
        model = build_model(build, {}, few.train, "study x")
    check_start(build, {}, few.train, model, "study x")


def make_start(initializer):
    network = keras.Sequential([keras.Input((784,)), Block(initializer), layers.Dense(10, kernel_initializer="zeros")])
    network.compile("adam", "mse", metrics=["accuracy"])
    return network


def test_a_start_that_is_the_same_for_all_seeds_is_refused_unless_it_is_meant(few):
    outside = initializers.HeNormal()
    for build in (lambda: make_start(outside), lambda: make_start(initializers.HeNormal(seed=1))):
        with pytest.raises(LabError, match="study x: the initial weights do not depend on the seed"):
            start(build, few)
    for build in (lambda: make_start("he_normal"), lambda: make_start("zeros")):
        start(build, few)


def test_a_model_or_layer_that_the_builder_keeps_is_refused(few):
    dense, dropout = layers.Dense(8), layers.Dropout(0.1)
    for build in (functools.cache(make_network), lambda: make_network(dense), lambda: make_network(dropout)):
        with pytest.raises(LabError, match=r"study x: build.. returned a .*layer that it had returned before"):
            start(build, few)
