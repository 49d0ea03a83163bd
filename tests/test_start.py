import functools
import random

import numpy as np
import pytest

from mnist_lab.errors import LabError
from mnist_lab.start import build_seeded
from mnist_lab.train import keras

layers, initializers = keras.layers, keras.initializers


def make(*inner):
    network = keras.Sequential([keras.Input((784,)), *inner, layers.Dense(10)])
    network.compile(loss="mse")
    return network


def start(build):
    return build_seeded(build, "study x")[1]


def make_adapted(scale):
    normal = layers.Normalization()
    normal.adapt(scale * np.arange(784.0 * 4).reshape(4, 784))
    return make(normal)


def make_drawn(scale):
    network = make()
    network.set_weights([np.random.normal(0, scale, (784, 10)), np.zeros(10)])
    return network


def make_scaled(scale):
    network = make()
    for weight in network.weights:
        weight.assign(scale * weight)
    return network


def make_trained(epochs):
    network = make()
    network.fit(np.ones((1, 784)), np.ones((1, 10)), epochs=epochs, verbose=0)
    return network


def make_seeded(seed):
    keras.utils.set_random_seed(seed)
    return make(layers.Dropout(0.1))


def make_older(steps):
    network = make()
    network.optimizer.iterations.assign(steps)
    return network


def make_frozen(place):
    network = make(layers.Dense(8))
    network.weights[place].trainable = False
    return network


def make_in_order(first):
    inner = {number: layers.Dense(8) for number in (first, 5 - first)}
    return make(*(inner[number] for number in sorted(inner)))


class Scaled(layers.Layer):
    def __init__(self, scale):
        super().__init__()
        self.mine = self.add_weight((784,), initializers.RandomNormal(stddev=scale))

    def call(self, x):
        return x + self.mine


def make_built(steps):
    network = make()
    network.optimizer.build(network.trainable_variables)
    network.optimizer.variables[2].assign(keras.ops.full((784, 10), steps))
    return network


class Given(initializers.Initializer):
    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, self.value)


@pytest.mark.parametrize(
    "build",
    [
        make_adapted,
        make_drawn,
        make_scaled,
        make_trained,
        make_seeded,
        make_older,
        make_frozen,
        make_in_order,
        make_built,
        lambda value: make(Scaled(value)),
        lambda value: make(layers.Dense(10, kernel_initializer=np.full((784, 10), value))),
        lambda value: make(layers.Dense(10, kernel_initializer=Given(value))),
        lambda value: make(layers.Reshape((28, 28, 1)), layers.RandomCrop(9, 9, seed=value), layers.Flatten()),
    ],
)
def test_what_a_builder_decides_of_the_start_counts(build):
    first, again, other = (start(lambda n=n: build(n)) for n in (2, 2, 3))
    assert first == again != other


def make_recurrent():
    inner = layers.Reshape((4, 2)), layers.Bidirectional(layers.LSTM(3)), layers.Dropout(0.1)
    return make(layers.Dense(8, kernel_initializer=initializers.HeNormal(seed=1)), *inner)


class Own(layers.Layer):
    def build(self, shape):
        self.mine, self.seeds = self.add_weight(shape[1:]), keras.random.SeedGenerator()

    def call(self, x):
        return x + self.mine


class Block(layers.Layer):  # its weights are made where Keras asks for its shape, without a value yet
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(8)

    def call(self, x):
        return self.inner(x)


def make_many():
    for _ in range(1500):  # more than are known of the seed
        random.random()
    return make(layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.1))


@pytest.mark.parametrize("build", [make_many, make_recurrent, lambda: make(Own()), lambda: make(Block())])
def test_what_a_seed_decides_does_not_count(build):
    told = start(build)
    assert not {place for place in told if told[place].startswith(("drawn", "set"))}
    assert told == start(build)


def test_no_second_network_is_built_for_most_and_no_generator_is_touched():
    built = []

    def build():
        built.append(make(layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.1)))
        return built[-1]

    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    assert start(build) == {}
    assert len(built) == 1
    assert (random.random(), np.random.random()) == expected


def test_what_is_made_outside_and_would_be_the_same_for_every_seed_is_refused():
    initializer, dense, dropout = initializers.HeNormal(), layers.Dense(8), layers.Dropout(0.1)
    make(dense)
    for build in (
        lambda: make(layers.Dense(8, kernel_initializer=initializer)),
        lambda: make(dense),
        lambda: make(dropout),
    ):
        with pytest.raises(LabError, match="study x: every seed would draw the same numbers"):
            start(build)


def test_a_layer_that_the_builder_keeps_for_the_next_model_is_refused():
    for kept in (functools.cache(lambda: layers.Dense(8)), functools.cache(lambda: layers.Dropout(0.1))):
        start(lambda kept=kept: make(kept()))
        with pytest.raises(
            LabError, match="study x: the builder returned a layer or a model that it had returned before"
        ):
            start(lambda kept=kept: make(kept()))


def test_weights_that_no_seed_repeats_are_refused():
    def build():
        network = make()
        network.set_weights([np.random.default_rng().random((784, 10)), np.zeros(10)])
        return network

    with pytest.raises(LabError, match="study x: the builder sets weights that come out differently each time"):
        start(build)
