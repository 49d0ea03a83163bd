"""Trains one compiled Keras model, fast and repeatably: an epoch is one compiled function of TensorFlow.

It calls the model's own `train_step` for each batch: losses, metrics, regularisation and optimizers are Keras's.
"""

import time

import numpy as np

from mnist_lab.data import Split
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras, tf
from mnist_lab.training.checks import first_line, list_layers, unchanged

# XLA makes an epoch of these layers two to five times faster. It makes convolutions four to seven times slower, and
# some layers it cannot compile at all: a network with any other layer is trained as a plain TensorFlow graph.
XLA_LAYERS = "InputLayer Dense Dropout Activation ReLU LeakyReLU Softmax BatchNormalization LayerNormalization Flatten"
XLA_LAYERS = {getattr(keras.layers, name) for name in f"{XLA_LAYERS} Reshape Rescaling Add Concatenate".split()}


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


def use_xla(model) -> bool:
    """Whether XLA compiles this model's epochs: decided by its layers alone, never by timing, since bits differ."""
    kinds = {type(layer) for layer in list_layers(model)} - XLA_LAYERS
    return all(issubclass(kind, keras.Model) and kind.__module__.startswith("keras.") for kind in kinds)


def to_tensors(split: Split) -> Split:
    """The same split in TensorFlow's memory; nothing is copied that is there already."""
    return Split(tf.convert_to_tensor(split.x), tf.convert_to_tensor(split.y))


class Trainer:
    """A compiled model with its compiled epoch, for data of the shapes of `train`. Raises LabError."""

    def __init__(self, model, train: Split, batch_size: int):
        self.model, self.batch_size, self.jit = model, batch_size, use_xla(model)
        with unchanged(model) as self.variables:
            try:
                graph = self._compile(train)
            except (tf.errors.OpError, NotImplementedError):
                self.jit = False  # a loss or a metric that XLA cannot compile: that, too, is decided by the model alone
                graph = self._compile(train)
            except Exception as error:
                raise LabError(f"the model cannot be trained: {first_line(error)}") from None
        known = {id(variable.value) for variable in (*self.variables, *model.metrics_variables)}
        if any(id(variable) not in known for variable in graph.variables):
            raise LabError("training changes a variable outside the layers; a random layer needs a SeedGenerator")

    def _compile(self, train: Split) -> tf.Graph:
        """Trace and compile an epoch, so that no epoch's time holds the compiler's; return its graph."""
        self._run_steps = tf.function(self._all_steps, jit_compile=self.jit, autograph=False)
        x, y = tf.convert_to_tensor(train.x), tf.convert_to_tensor(train.y)
        self.model.test_step((x[:8], y[:8]))  # builds the metrics
        order, none_left = tf.range(len(train)), tf.constant(len(train))  # to train on a partial last batch alone
        dropouts = [layer for layer in list_layers(self.model) if type(layer) is keras.layers.Dropout and self.jit]
        try:
            for layer in dropouts:
                layer.__class__ = _ThreefryDropout  # nothing public exchanges the generator of a layer
            graph = self._run_steps.get_concrete_function(x, y, none_left, order).graph
            self._run_steps(x, y, none_left, order)
            return graph
        finally:
            for layer in dropouts:
                layer.__class__ = keras.layers.Dropout

    def _all_steps(self, x, y, start, order=None):
        """Train on the images in `order`, or evaluate on all, by batches from `start`, the last one partial."""
        images, step = x.shape[0], self.model.test_step if order is None else self.model.train_step
        full = images // self.batch_size * self.batch_size

        def body(i):
            rows = tf.range(self.batch_size) + i if order is None else tf.slice(order, [i], [self.batch_size])
            step((tf.gather(x, rows), tf.gather(y, rows)))
            return (i + self.batch_size,)

        for metric in self.model.metrics:
            metric.reset_state()
        if full:
            tf.while_loop(lambda i: i < full, body, (start,))
        if full < images:
            rows = None if order is None else order[full:]
            step((x[full:], y[full:]) if order is None else (tf.gather(x, rows), tf.gather(y, rows)))
        return self.model.get_metrics_result()

    def restart(self, model) -> None:
        """Take over the weights of another, equal model just built."""
        model.optimizer.build(model.trainable_variables)
        for variable, other in zip(self.variables, [*model.variables, *model.optimizer.variables], strict=True):
            variable.assign(other.numpy())

    def fit(self, train: Split, *, epochs: int, seed: int, shuffle: bool = True, evaluate: dict | None = None) -> dict:
        """Train from the present weights; return the history, as `model.fit` does: a list of values for each metric.

        Each epoch sees all images once, reshuffled by `seed`, and is then evaluated on each split of `evaluate`, whose
        name precedes the metric's: `val_loss`. `seconds` is the training part of the epoch.
        """
        train = to_tensors(train)
        evaluate = {name: to_tensors(split) for name, split in (evaluate or {}).items()}
        shuffler = np.random.default_rng(seed)
        history = []
        for _ in range(epochs):
            order = shuffler.permutation(len(train)) if shuffle else np.arange(len(train))
            began = time.perf_counter()
            epoch = self.evaluate(train, tf.constant(order, tf.int32))
            epoch["seconds"] = round(time.perf_counter() - began, 4)
            for name, split in evaluate.items():
                epoch |= {f"{name}_{metric}": value for metric, value in self.evaluate(split).items()}
            history.append(epoch)
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        return {metric: [epoch[metric] for epoch in history] for metric in history[0]}

    def evaluate(self, split: Split, order=None) -> dict[str, float]:
        """Loss and metrics on `split`, in inference mode; with the `order` of its images, train on them."""
        split = to_tensors(split)
        results = self._run_steps(split.x, split.y, tf.constant(0), order)
        # the shortest decimals that stand for Keras's float32, so that they read well and read back
        return {name: float(str(np.float32(value.numpy()))) for name, value in results.items()}

    def predict(self, split: Split) -> np.ndarray:
        """The model's answers to `split` in inference mode, a row an image; float16, to take little room on disk."""
        parts = [tf.convert_to_tensor(split.x[i : i + 1000]) for i in range(0, len(split), 1000)]
        return tf.concat([self.model(part, training=False) for part in parts], axis=0).numpy().astype(np.float16)
