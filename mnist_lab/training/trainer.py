"""Trains one compiled Keras model, fast and repeatably.

An epoch is one compiled function: data, shuffled order and weights stay inside TensorFlow, and Python is not in the
loop. It calls the model's own `train_step` and `test_step`, so losses, metrics, regularisation and optimizers are
Keras's.
"""

import time
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext

import numpy as np

from mnist_lab.data import Split, check_integer
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras, tf
from mnist_lab.training.checks import all_variables, assign_all, first_line, list_layers, probe_model

# XLA makes an epoch of these layers two to five times faster. It makes convolutions four to seven times slower, and
# some layers it cannot compile at all: a network with any other layer is trained as a plain TensorFlow graph.
XLA_LAYERS = "InputLayer Dense Dropout Activation ReLU LeakyReLU Softmax BatchNormalization LayerNormalization Flatten"
XLA_LAYERS = {getattr(keras.layers, name) for name in f"{XLA_LAYERS} Reshape Rescaling Add Concatenate".split()}
# these draw from TensorFlow's own generator, whose state no seed of ours reaches once a function is compiled
UNSEEDED = {
    "RandomUniform",
    "RandomUniformInt",
    "RandomStandardNormal",
    "RandomGammaV2",
    "RandomShuffle",
    "Multinomial",
}


class _ThreefryDropout(keras.layers.Dropout):
    """Dropout with the random bits that XLA draws fast on a CPU; Keras's own (Philox) cost ten epochs' time there."""

    def call(self, inputs, training=True):
        if self.rate == 0:
            return inputs
        seed = tf.cast(self.seed_generator.next(), "int32")
        shape = [given or size for given, size in zip(self.noise_shape or inputs.shape, inputs.shape, strict=True)]
        noise = tf.random.stateless_uniform(shape, seed, alg="threefry")
        keep = 1.0 - self.rate
        return tf.where(noise < keep, inputs / keep if keep else inputs, tf.zeros_like(inputs))


@contextmanager
def _fast_dropout(model):
    """While a training step is traced, let dropout layers draw as `_ThreefryDropout`, by an exchange of their class."""
    layers = [layer for layer in list_layers(model) if type(layer) is keras.layers.Dropout]
    try:
        for layer in layers:
            layer.__class__ = _ThreefryDropout
        yield
    finally:
        for layer in layers:
            layer.__class__ = keras.layers.Dropout


def use_xla(model) -> bool:
    """Whether XLA compiles this model's epochs: decided by its layers alone, never by timing, since bits differ."""
    kinds = {type(layer) for layer in list_layers(model)} - XLA_LAYERS
    return all(issubclass(kind, keras.Model) and kind.__module__.startswith("keras.") for kind in kinds)


def to_tensors(split: Split) -> Split:
    """The same split in TensorFlow's memory; nothing is copied that is there already."""
    return Split(tf.convert_to_tensor(split.x), tf.convert_to_tensor(split.y))


class Trainer:
    """A compiled model with its compiled epochs, which the seeds of a configuration share.

    `train` and `batch_size` are those of every call of `fit`. Raises LabError, in one line, where the model cannot be
    trained or not be repeated.
    """

    def __init__(self, model, train: Split, batch_size: int):
        probe_model(model, train)  # builds the optimizer and the metrics
        self.model, self.batch_size = model, batch_size
        self.initial = [variable.numpy() for variable in all_variables(model)]
        self.jit = use_xla(model)
        try:
            self._compile(train)
        except (tf.errors.OpError, NotImplementedError):
            self.jit = False  # a loss or a metric that XLA cannot compile: that, too, is decided by the model alone
            self._compile(train)
        except LabError:
            raise
        except Exception as error:
            raise LabError(f"the model cannot be trained: {first_line(error)}") from None

    def _compile(self, train: Split) -> None:
        """Trace and compile both functions, so that no epoch's time holds the compiler's."""
        self._train_epoch = tf.function(self._train_steps, jit_compile=self.jit, autograph=False)
        self._evaluate_all = tf.function(self._test_steps, jit_compile=self.jit, autograph=False)
        x, y = tf.convert_to_tensor(train.x), tf.convert_to_tensor(train.y)
        order, none_left = tf.range(len(train)), tf.constant(len(train))  # compiles, and trains on the last batch alone
        with _fast_dropout(self.model) if self.jit else nullcontext():
            graph = self._train_epoch.get_concrete_function(x, y, order, none_left).graph
            metrics = self._train_epoch(x, y, order, none_left)
        known = {id(v.value) for v in (*all_variables(self.model), *self.model.metrics_variables)}
        traced = graph.as_graph_def()
        nodes = [*traced.node, *(node for function in traced.library.function for node in function.node_def)]
        unseeded = any(node.op.startswith(UNSEEDED) for node in nodes)
        if unseeded or any(id(variable) not in known for variable in graph.variables):
            advice = "give the layer a keras.random.SeedGenerator, or make the state one of its weights"
            raise LabError(
                f"the model would not repeat: it has state outside its layers, such as a generator; {advice}"
            )
        for name, value in metrics.items():
            if value.shape.rank:
                raise LabError(f"metric {name} must be one number (got {value.shape[0]}); give it an average")
        self.restart()

    def _train_steps(self, x, y, order, start):
        """Train on the images in `order` from `start`, batch by batch, the last one partial; return the metrics."""

        def step(rows):
            self.model.train_step((tf.gather(x, rows), tf.gather(y, rows)))

        def body(i):
            step(tf.slice(order, [i], [self.batch_size]))
            return (i + self.batch_size,)

        return self._all_steps(x.shape[0], start, body, lambda full: step(order[full:]))

    def _test_steps(self, x, y, start):
        """Evaluate all images from `start` in batches, as Keras does; return the metrics."""

        def body(i):
            rows = tf.range(self.batch_size) + i
            self.model.test_step((tf.gather(x, rows), tf.gather(y, rows)))
            return (i + self.batch_size,)

        return self._all_steps(x.shape[0], start, body, lambda full: self.model.test_step((x[full:], y[full:])))

    def _all_steps(self, images, start, body, last):
        full = images // self.batch_size * self.batch_size
        for metric in self.model.metrics:
            metric.reset_state()
        if full:
            tf.while_loop(lambda i: i < full, body, (start,))
        if full < images:
            last(full)
        return self.model.get_metrics_result()

    def restart(self, model=None) -> None:
        """Go back to the weights this trainer was made with, or to those of another, equal model just built."""
        if model is not None:
            model.optimizer.build(model.trainable_variables)
            self.initial = [variable.numpy() for variable in all_variables(model)]
        assign_all(all_variables(self.model), self.initial)

    def fit(
        self, train: Split, *, epochs: int, seed: int, shuffle: bool = True, evaluate: Mapping[str, Split] | None = None
    ) -> dict[str, list[float]]:
        """Train from where the weights stand; return a value an epoch for each of Keras's names, as `model.fit` does.

        Every epoch sees all images once, reshuffled by `seed`. After it the model is evaluated on each split of
        `evaluate`, whose name and an underscore precede the metric's. `seconds` is the training part of the epoch.
        """
        train, start = to_tensors(train), tf.constant(0)
        evaluate = {name: to_tensors(split) for name, split in (evaluate or {}).items()}
        shuffler = np.random.default_rng(seed)
        history: dict[str, list[float]] = {}
        for _ in range(epochs):
            order = shuffler.permutation(len(train)) if shuffle else np.arange(len(train))
            began = time.perf_counter()
            epoch = _numbers(self._train_epoch(train.x, train.y, tf.constant(order, tf.int32), start))
            epoch["seconds"] = round(time.perf_counter() - began, 4)
            for name, split in evaluate.items():
                epoch |= {f"{name}_{metric}": value for metric, value in self.evaluate(split).items()}
            for metric, value in epoch.items():
                history.setdefault(metric, []).append(value)
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        return history

    def evaluate(self, split: Split) -> dict[str, float]:
        """Loss and metrics on `split`, in inference mode."""
        split = to_tensors(split)
        return _numbers(self._evaluate_all(split.x, split.y, tf.constant(0)))

    def predict(self, split: Split) -> np.ndarray:
        """The model's answers to `split` in inference mode, a row an image; float16, to take little room on disk."""
        parts = [tf.convert_to_tensor(split.x[i : i + 1000]) for i in range(0, len(split), 1000)]
        return tf.concat([self.model(part, training=False) for part in parts], axis=0).numpy().astype(np.float16)


def _numbers(results: dict) -> dict[str, float]:
    """Keras's float32 results as the shortest decimals that stand for them, so that they read well and read back."""
    return {name: float(str(np.float32(value.numpy()))) for name, value in results.items()}


def fit(
    model, x: np.ndarray, y: np.ndarray, *, epochs=1, batch_size=32, seed=0, shuffle=True, validation_data=None
) -> dict[str, list[float]]:
    """`model.fit` by compiled epochs: trains `model` in place and returns its history, with `seconds` an epoch.

    `validation_data` is a pair, images and labels. Raises LabError, in one line, for what cannot be trained.
    """
    for name, value, minimum in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        check_integer(f"fit: {name}", value, minimum)
    train, evaluate = Split(x, y), {"val": Split(*validation_data)} if validation_data else {}
    return Trainer(model, train, batch_size).fit(train, epochs=epochs, seed=seed, shuffle=shuffle, evaluate=evaluate)
