import numpy as np
import pytest

from mnist_lab.data import Split, load_digits
from mnist_lab.errors import LabError
from mnist_lab.train import Trainer, build_model, fit, keras, tf, use_xla

layers = keras.layers
ROWS = 1_000  # with batches of 64, the last one is partial


def make_network(*inner, shape=(784,), **compiled):
    network = keras.Sequential([keras.Input(shape), *inner, layers.Dense(10, activation="softmax")])
    network.compile(**{"optimizer": "adam", "loss": "categorical_crossentropy", "metrics": ["accuracy"]} | compiled)
    return network


def make_dense():
    return make_network(
        layers.Dense(32, activation="sigmoid", kernel_regularizer="l2"),
        optimizer=keras.optimizers.Adam(0.01),
        metrics=["accuracy", keras.metrics.TopKCategoricalAccuracy(2)],
    )


def make_convolutional():
    convolution = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(2), layers.Flatten()]
    return make_network(*convolution, shape=(28, 28, 1), optimizer=keras.optimizers.Adadelta(1.0))


@pytest.mark.parametrize(("make", "form"), [(make_dense, "flat"), (make_convolutional, "image")])
def test_history_equals_that_of_keras_fit(make, form):
    digits = load_digits(form)
    x, y = digits.train.x[:ROWS], digits.train.y[:ROWS]
    settings = {
        "epochs": 3,
        "batch_size": 64,
        "shuffle": False,
        "validation_data": (digits.val.x[:500], digits.val.y[:500]),
    }
    keras.utils.set_random_seed(3)
    ours = make()
    keras.utils.set_random_seed(3)
    network = make()
    history = fit(ours, x, y, **settings)
    for metric, values in network.fit(x, y, verbose=0, **settings).history.items():
        np.testing.assert_allclose(history[metric], values, rtol=1e-4, err_msg=metric)
    for weights, others in zip(ours.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_allclose(weights, others, rtol=1e-3, atol=1e-4)
    assert use_xla(ours) == (form == "flat")


def test_every_epoch_sees_every_image_once_in_another_order(flat):
    """A model that learns nothing, but whose metric depends on the order of the images in their batches."""
    x, y = flat.train.x[:ROWS], flat.train.y[:ROWS]
    seen = []

    def spy(y_true, y_pred):  # the place in the batch, summed over the zeros
        places = keras.ops.cast(keras.ops.arange(keras.ops.shape(y_true)[0]), "float32")
        return keras.ops.sum(places * y_true[:, 0]) + 0 * y_pred[:, 0]

    for seed in (0, 0, 1):
        keras.utils.set_random_seed(3)
        network = make_network(optimizer=keras.optimizers.SGD(0.0), metrics=["accuracy", spy])
        seen.append(fit(network, x, y, epochs=3, batch_size=64, seed=seed))
    assert seen[0]["spy"] == seen[1]["spy"] != seen[2]["spy"]
    assert len(set(seen[0]["spy"])) == 3
    assert len(set(seen[0]["accuracy"])) == 1  # each image once: with the weights still, always the same accuracy
    assert seen[0]["accuracy"][0] == pytest.approx(network.evaluate(x, y, verbose=0)[1], abs=1e-6)


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
def test_dropout_drops_its_share_in_training_only(rate, few):
    """Of ones through dropout, the mean stays 1 and that of squares is 1 / (1 - rate); in inference nothing drops."""

    def squares(y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_pred), axis=-1)

    def ones(y_true, y_pred):
        return keras.ops.mean(y_pred, axis=-1)

    network = keras.Sequential(
        [keras.Input((784,)), layers.Dense(10, kernel_initializer="zeros", bias_initializer="ones")]
    )
    network.add(layers.Dropout(rate))
    network.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", metrics=[squares, ones])
    train = Split(np.tile(few.train.x, (40, 1)), np.tile(few.train.y, (40, 1)))
    trainer = Trainer(network, train, 64)
    history = trainer.fit(train, epochs=2, seed=0, evaluate={"val": few.val})
    assert trainer.jit
    assert history["ones"][0] == pytest.approx(1, abs=0.01)
    assert history["squares"][0] == pytest.approx(1 / (1 - rate), abs=0.01)
    assert history["val_squares"] == [1, 1]
    assert (history["squares"][0] != history["squares"][1]) == (rate > 0)  # drawn anew each epoch
    assert type(network.layers[-1]) is layers.Dropout


@pytest.mark.parametrize(
    "changes",
    [
        lambda: {"loss": keras.losses.CategoricalHinge()},
        lambda: {"optimizer": keras.optimizers.Nadam(0.01)},
        lambda: {"optimizer": keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)},
        lambda: {"metrics": [keras.metrics.AUC(name="area"), "binary_accuracy"]},
        lambda: {"inner": [layers.GaussianNoise(0.1), layers.Dense(9)]},
        lambda: {"inner": [layers.Dense(9), layers.BatchNormalization(), layers.Dropout(0.5, noise_shape=(None, 1))]},
    ],
)
def test_a_restart_gives_the_same_bits(changes, few):
    """Also where the epochs were compiled for another start, and whatever layers, losses and optimizers there are."""

    def make(seed):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed)
        changed = changes()
        return make_network(*changed.pop("inner", []), **{"loss": "mse"} | changed)

    def histories(trainer):
        history = trainer.fit(few.train, epochs=2, seed=5, evaluate={"val": few.val})
        return {name: values for name, values in history.items() if name != "seconds"}, trainer.evaluate(few.test)

    fresh = histories(Trainer(make(5), few.train, 64))
    trainer = Trainer(make(4), few.train, 64)
    histories(trainer)
    trainer.restart(make(5))
    assert histories(trainer) == fresh


class Unseeded(layers.Layer):
    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x))


class UnseededOp(layers.Layer):
    def call(self, x):
        return x + tf.random.normal((784,))


class Drawn(layers.Layer):  # once, when the epoch is compiled, and not again
    def call(self, x):
        return x + np.random.normal()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda: make_network(Unseeded()), "keeps state outside its layers"),
        (lambda: make_network(metrics=[keras.metrics.F1Score()]), "f1_score gives 10 numbers"),
        (lambda: make_network(loss="sparse_categorical_crossentropy"), "cannot be trained: ValueError"),
        (lambda: make_network(Drawn()), "keeps state outside its layers"),
        (lambda: make_network(UnseededOp()), "keeps state outside its layers"),
        (lambda: make_network(metrics=[keras.metrics.MeanSquaredError("loss")]), "a metric is called loss, as is"),
        (lambda: make_network(metrics=[keras.metrics.MeanSquaredError("value")]), "a metric is called value, as is"),
        (lambda: make_network(metrics=[keras.metrics.AUC(name="val_area")]), "a metric is called val_area, as is"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(network, told, few):
    for batch_size in (64, 1000):  # the larger takes all in a single step, without a loop
        with pytest.raises(LabError, match=told) as error:
            Trainer(network(), few.train, batch_size)
        assert "\n" not in str(error.value)


def make_subclass():
    class Mine(keras.Model):
        def __init__(self):
            super().__init__()
            self.answer = layers.Dense(10)

        def call(self, x):
            return self.answer(x)

    network = Mine()
    network.compile("adam", "mse")
    return network


def make_uncompiled():
    return keras.Sequential([keras.Input((784,)), layers.Dense(10)])


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: None, "must return a compiled keras.Model, not NoneType"),
        (make_uncompiled, "not compiled"),
        (lambda: make_network(shape=(28, 28, 1)), r"images of shape \(28, 28, 1\), and the data has \(784,\)"),
        (lambda: make_network(layers.Dense(5), layers.Reshape((5, 1))), r"answers with shape \(5, 10\)"),
        (lambda: make_network(run_eagerly=True), "run_eagerly"),
        (make_subclass, "a subclass of keras.Model tells no shapes"),
        (lambda: 1 / 0, r"the builder fails \(ZeroDivisionError: division by zero\)"),
    ],
)
def test_a_builder_that_fails_is_told_in_one_line(build, told, few):
    with pytest.raises(LabError, match=told) as error:
        build_model(build, {}, few.train, "study x")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": -1}, "fit: seed is -1, but allowed is a whole number from 0"),
        ({"epochs": "2"}, "fit: epochs is '2', but allowed is a whole number from 1"),
        ({"batch_size": 0}, "fit: batch_size is 0, but"),
        ({"validation_data": (1,)}, "fit: validation_data must be a pair"),
    ],
)
def test_a_fit_with_a_setting_of_the_wrong_kind_is_refused(changes, told, few):
    with pytest.raises(LabError, match=told):
        fit(make_network(), few.train.x, few.train.y, **changes)
