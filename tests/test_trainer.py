import numpy as np
import pytest
from networks import make_network

from mnist_lab.data import Split, load_digits
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras
from mnist_lab.training.trainer import Trainer, _ThreefryDropout, use_xla

layers = keras.layers
ROWS = 1_000  # with batches of 64, the last one is partial


def make_dense():
    hidden = layers.Dense(32, activation="sigmoid", kernel_regularizer="l2")
    return make_network(hidden, optimizer=keras.optimizers.Adam(0.01), metrics=["accuracy", "mae"])


def make_convolutional():
    convolution = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()]
    return make_network(*convolution, shape=(28, 28, 1), optimizer=keras.optimizers.Adadelta(1.0))


@pytest.mark.parametrize(("make", "form"), [(make_dense, "flat"), (make_convolutional, "image")])
def test_the_history_is_that_of_keras_fit(make, form):
    digits = load_digits(form)
    train, val = digits.train[:ROWS], digits.val[:500]
    settings = {"epochs": 2, "shuffle": False}
    ours, theirs = make(), make()
    theirs.set_weights(ours.get_weights())
    history = Trainer(ours, train, 64).fit(train, seed=0, evaluate={"val": val}, **settings)
    expected = theirs.fit(train.x, train.y, 64, verbose=0, validation_data=(val.x, val.y), **settings)
    for metric, values in expected.history.items():
        np.testing.assert_allclose(history[metric], values, rtol=1e-4, err_msg=metric)
    for weights, others in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(weights, others, rtol=1e-3, atol=1e-4)
    assert use_xla(ours) == (form == "flat")


def test_each_epoch_sees_each_image_once_in_another_order(flat):
    """A model that learns nothing, with a metric that depends on the order of the images in their batches."""

    def order(y_true, y_pred):  # the place in the batch, summed over the zeros
        places = keras.ops.cast(keras.ops.arange(keras.ops.shape(y_true)[0]), "float32")
        return keras.ops.sum(places * y_true[:, 0]) + 0 * y_pred[:, 0]

    train = flat.train[:ROWS]
    network = make_network(optimizer=keras.optimizers.SGD(0.0), metrics=["accuracy", order])
    trainer = Trainer(network, train, 64)
    histories = [trainer.fit(train, epochs=3, seed=seed) for seed in (0, 0, 1)]
    assert histories[0]["order"] == histories[1]["order"] != histories[2]["order"]
    assert len(set(histories[0]["order"])) == 3
    assert len(set(histories[0]["accuracy"])) == 1
    assert histories[0]["accuracy"][0] == pytest.approx(network.evaluate(train.x, train.y, verbose=0)[1], abs=1e-6)


def test_dropout_drops_its_share_in_training_only_and_draws_fast_under_xla(few, monkeypatch):
    """Of ones through dropout, the mean stays 1 and that of squares is 1 / (1 - rate); in inference nothing drops."""

    def squares(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred), axis=-1)

    def ones(y_true, y_pred):
        return keras.ops.mean(y_pred, axis=-1)

    drawn, call = [], _ThreefryDropout.call
    monkeypatch.setattr(_ThreefryDropout, "call", lambda layer, x, training: drawn.append(layer.rate) or call(layer, x))
    ones_only = layers.Dense(10, kernel_initializer="zeros", bias_initializer="ones")
    network = keras.Sequential([keras.Input((784,)), ones_only, layers.Dropout(0.0), layers.Dropout(0.2)])
    network.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=[squares, ones])
    train = Split(np.tile(few.train.x, (40, 1)), np.tile(few.train.y, (40, 1)))
    history = Trainer(network, train, 64).fit(train, epochs=2, seed=0, evaluate={"val": few.val})
    assert set(drawn) == {0.0, 0.2}
    assert history["ones"][0] == pytest.approx(1, abs=0.01)
    assert history["squares"][0] == pytest.approx(1 / 0.8, abs=0.01)
    assert history["val_squares"] == [1, 1]
    assert history["squares"][0] != history["squares"][1]  # drawn anew each epoch
    assert type(network.layers[-1]) is layers.Dropout  # Keras's own, as before


def make_with_states():
    """A network with all that a training changes besides weights: averages, moments, an area, random numbers."""
    inner = layers.BatchNormalization(), layers.Dropout(0.5), layers.GaussianNoise(0.1)
    moving = keras.optimizers.Nadam(0.01, use_ema=True, ema_momentum=0.9)
    return make_network(*inner, optimizer=moving, loss="categorical_hinge", metrics=[keras.metrics.AUC(name="area")])


def test_a_restarted_trainer_gives_the_bits_of_a_new_one(few):
    def make(seed):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        return make_with_states()

    def train(trainer):
        history = trainer.fit(few.train, epochs=2, seed=5, evaluate={"val": few.val})
        return {name: values for name, values in history.items() if name != "seconds"}, trainer.evaluate(few.test)

    expected = train(Trainer(make(5), few.train, 100))
    trainer = Trainer(make(4), few.train, 100)
    assert train(trainer) != expected
    trainer.restart(make(5))
    assert train(trainer) == expected


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + keras.random.normal(keras.ops.shape(x)), "training changes a variable outside the layers"),
        (lambda x: x * float(keras.ops.max(x)), "the model cannot be trained: TypeError"),
    ],
)
def test_a_model_that_cannot_be_trained_or_repeated_is_refused_in_one_line(function, message, few):
    with pytest.raises(LabError, match=message) as error:
        Trainer(make_network(layers.Lambda(function, output_shape=(784,))), few.train, 64)
    assert "\n" not in str(error.value)
