import functools
import random

import numpy as np
import pytest
from networks import make_network

from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras
from mnist_lab.training.checks import build_model, check_start, count_operations, list_layers, probe_model, seeded

layers, initializers = keras.layers, keras.initializers


class Block(layers.Layer):
    """A layer of a student's own, with a layer inside."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(8)

    def call(self, x):
        return self.inner(x)


def test_a_layer_inside_a_custom_layer_is_found():
    network = make_network(Block())
    assert [type(layer) for layer in list_layers(network)].count(layers.Dense) == 2
    assert count_operations(network) == 2 * (784 * 8 + 8 * 10)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.answer = layers.Dense(10)
        self.compile("adam", "mse")

    def call(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: None, r"build\(\) must `return` a compiled keras.Model \(got a NoneType\)"),
        (lambda: 3, r"build\(\) must `return` a compiled keras.Model \(got a int\)"),
        (lambda: keras.Sequential([keras.Input((784,)), layers.Dense(10)]), "the model is not compiled"),
        (lambda: make_network(shape=(28, 28, 1)), r"input has shape \(28, 28, 1\), but the data has \(784,\)"),
        (
            lambda: make_network(layers.Dense(5), layers.Reshape((5, 1))),
            r"output has shape \(5, 10\), but the data has",
        ),
        (Subclass, "does not fit the data: AttributeError: .*"),
        (lambda: 1 / 0, r"build\(\) raised ZeroDivisionError: division by zero"),
        (
            lambda: make_network(layers.Conv2D(4, 3)),
            r"build\(\) raised ValueError: .*expected min_ndim=4, found ndim=2",
        ),
    ],
)
def test_a_builder_that_fails_is_explained_in_one_line(build, message, few):
    with pytest.raises(LabError, match=f"study x: .*{message}") as error:
        build_model(build, {}, few.train, "study x")
    assert "\n" not in str(error.value)


def start(build, few):
    with seeded(1):
        model = build_model(build, {}, few.train, "study x")
    check_start(build, {}, few.train, model, "study x")


def make_seeded(initializer):
    network = keras.Sequential([keras.Input((784,)), layers.Dense(10, kernel_initializer=initializer)])
    network.compile("adam", "mse", metrics=["accuracy"])
    return network


def make_with_weights_set():
    network = make_network()
    network.set_weights([np.ones((784, 10)), np.zeros(10)])
    return network


def test_a_start_that_is_the_same_for_all_seeds_is_refused(few):
    outside = initializers.HeNormal()
    for build in (lambda: make_seeded(outside), lambda: make_seeded(initializers.HeNormal(seed=1))):
        with pytest.raises(LabError, match="study x: the initial weights do not depend on the seed"):
            start(build, few)
    for build in (lambda: make_network(Block()), lambda: make_seeded("zeros"), make_with_weights_set):
        start(build, few)


def test_a_model_or_layer_that_the_builder_keeps_is_refused(few):
    dense, dropout = layers.Dense(8), layers.Dropout(0.1)
    for build in (functools.cache(make_network), lambda: make_network(dense), lambda: make_network(dropout)):
        with pytest.raises(LabError, match=r"study x: build.. returned a .*layer that it had returned before"):
            start(build, few)


def test_probing_a_model_repeats_and_leaves_it_and_all_generators_as_they_were(few):
    probes = []
    for _ in range(2):
        np.random.seed(1)
        random.seed(1)
        with seeded(1):
            model = make_network(layers.BatchNormalization(), layers.Dropout(0.5))
            before = [variable.numpy() for variable in model.variables]
            probe, names = probe_model(model, few.train)
        assert (np.random.randint(1000), random.randint(0, 1000)) == (37, 137)
        assert all(np.array_equal(*pair) for pair in zip(before, model.variables, strict=True))
        assert (int(model.optimizer.iterations), names) == (0, ["loss", "accuracy"])
        probes.append(probe)
    assert probes[0] == probes[1]
    assert len(set(probe[:3])) == 3  # the losses of the two steps, and the one after them
    np.testing.assert_allclose(probe[3:], [np.linalg.norm(weight) for weight in model.get_weights()], rtol=1e-6)


@pytest.mark.parametrize(
    ("compiled", "message"),
    [
        (
            {"loss": "sparse_categorical_crossentropy"},
            "the labels are one-hot; use categorical_crossentropy, not sparse",
        ),
        ({"optimizer": keras.optimizers.SGD(clipnorm="a")}, "cannot be trained: TypeError"),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line(compiled, message, few):
    with pytest.raises(LabError, match=f"study x.* {message}") as error:
        probe_model(make_network(**compiled), few.train, "study x")
    assert "\n" not in str(error.value)
