"""Trains one compiled Keras model, fast and repeatably.

An epoch is one compiled function: data, shuffled order and weights stay inside TensorFlow, and Python is not in the
loop. It calls the model's own `train_step` and `test_step`, so losses, metrics, regularisation and optimizers are
Keras's. It trains on one thread, since the bits of a result depend on the number of threads.
"""

import copy
import inspect
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext

import numpy as np

from mnist_lab.data import Split, check_whole
from mnist_lab.errors import LabError
from mnist_lab.record import MACHINE, TEXT, WHOLE


@contextmanager
def _muted():
    """Keep what native code writes to the terminal off it: TensorFlow logs its start before any setting can stop it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _muted():
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # it warns of compiling often, which is what many configurations are

# XLA makes an epoch of these layers two to five times faster. It makes convolutions four to seven times slower, and
# some layers it cannot compile at all: a network with any other layer is trained as a plain TensorFlow graph.
XLA_LAYERS = {
    keras.layers.InputLayer,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.Softmax,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Rescaling,
    keras.layers.Add,
    keras.layers.Concatenate,
}
# What draws from TensorFlow's own generator, whose state no seed of ours reaches once a function is compiled.
UNSEEDED_OPS = ("Random", "TruncatedNormal", "Multinomial", "ParameterizedTruncatedNormal")


class _ThreefryDropout(keras.layers.Dropout):
    """Dropout with the random bits that XLA draws fast on a CPU; Keras's own (Philox) cost ten epochs' time there.

    It stands in for Keras's while a training step is traced, and nowhere else: it always drops.
    """

    def call(self, inputs, training=True):
        if self.rate == 0:
            return inputs
        seed = tf.cast(self.seed_generator.next(), "int32")
        shape = [given or size for given, size in zip(self.noise_shape or inputs.shape, inputs.shape, strict=True)]
        noise = tf.random.stateless_uniform(shape, seed, alg="threefry")
        keep = 1.0 - self.rate
        return tf.where(noise < keep, inputs / keep if keep else inputs, tf.zeros_like(inputs))


@contextmanager
def _fast_dropout(layers: list):
    """While a function is traced, let the model's dropout layers draw as `_ThreefryDropout` does."""
    exchanged = [layer for layer in layers if type(layer) is keras.layers.Dropout]
    try:
        for layer in exchanged:
            layer.__class__ = _ThreefryDropout
        yield
    finally:
        for layer in exchanged:
            layer.__class__ = keras.layers.Dropout


def flatten(layer) -> list:
    """`layer` and every layer inside it."""
    return [layer, *(inner for child in layer._layers for inner in flatten(child))]


def is_keras_own(kind: type) -> bool:
    """Whether a class is part of Keras, or of this package, rather than written by its user."""
    return kind.__module__.split(".")[0] in ("keras", "mnist_lab")


def use_xla(model) -> bool:
    """Whether XLA compiles this model's epochs: decided by its layers alone, never by timing, since bits differ."""
    return all(
        type(layer) in XLA_LAYERS or (isinstance(layer, keras.Model) and is_keras_own(type(layer)))
        for layer in flatten(model)
    )


def one_line(error: Exception) -> str:
    """The first line that says something in an error of Keras or TensorFlow."""
    if isinstance(error, LabError):
        return str(error)
    plain = re.sub(r"\x1b\[\d*m", "", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception encountered", "Graph execution", "Detected at"))]
    return f"{type(error).__name__}: {(told or lines or ['no message'])[0]}"


def build_model(build: Callable, settings: Mapping[str, object], train: Split, where: str):
    """Call a notebook's builder with the settings it takes, and see that a compiled model with weights comes back.

    Raises LabError, in one line that begins with `where`, if not.
    """
    takes = {name: settings[name] for name in inspect.signature(build).parameters if name in settings}
    for name, value in takes.items():
        try:
            takes[name] = copy.deepcopy(value)  # an optimizer or a loss would otherwise serve two models
        except Exception:
            raise LabError(
                f"{where}: {name} is a {type(value).__name__}, which cannot be copied: make it inside the builder"
            ) from None
    try:
        model = build(**takes)
    except Exception as error:
        raise LabError(f"{where}: the builder fails ({one_line(error)})") from None
    if not isinstance(model, keras.Model):
        raise LabError(f"{where}: the builder must return a compiled keras.Model, not {type(model).__name__}")
    if not model.compiled or model.optimizer is None:
        raise LabError(
            f"{where}: the model is not compiled: call model.compile(optimizer=..., loss=..., metrics=[...])"
        )
    if model.run_eagerly:
        raise LabError(
            f"{where}: the model is compiled with run_eagerly=True, and an epoch here is one compiled function"
        )
    try:
        if not model.built or not model.trainable_variables:
            model(tf.convert_to_tensor(train.x[:2]))
        if not hasattr(model, "input_shape"):
            raise LabError("a subclass of keras.Model tells no shapes: return a Sequential or a functional model")
        takes, gives = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
        image, label = tuple(train.x.shape[1:]), tuple(train.y.shape[1:])
        if takes != image:
            raise LabError(f"it takes images of shape {takes}, and the data has {image}")
        if gives != label:
            raise LabError(f"it answers with shape {gives}, and the labels have {label}")
    except Exception as error:
        raise LabError(f"{where}: the model does not fit the data: {one_line(error)}") from None
    return model


def prepare(model, train: Split, where: str = "the model") -> list[str]:
    """Build the optimizer and the metrics of a model that has its weights, and leave these as they were.

    One step on the first two images shows whether it can be trained, and what it measures: loss and metrics, whose
    names are returned. Raises LabError, in one line, if it cannot, and for a metric named like another column.
    """
    try:
        model.optimizer.build(model.trainable_variables)
        state = [variable.numpy() for variable in _variables(model)]
        model.train_step((tf.convert_to_tensor(train.x[:2]), tf.convert_to_tensor(train.y[:2])))
    except Exception as error:
        raise LabError(f"{where} cannot be trained: {one_line(error)}") from None
    _restore(_variables(model), state)
    results = [(metric.name, metric.result()) for metric in model.metrics]
    names = [name for of, result in results for name in (result if isinstance(result, dict) else [of])]
    for place, name in enumerate(names):
        if name in (*names[:place], *TEXT, *WHOLE, "seconds", MACHINE) or name.startswith(("val_", "clean_", "test_")):
            raise LabError(f"{where}: a metric is called {name}, as is another column of the record; rename it")
    return names


def to_tensors(split: Split) -> Split:
    """The same split in TensorFlow's memory; nothing is copied that is there already."""
    return Split(tf.convert_to_tensor(split.x), tf.convert_to_tensor(split.y))


def _variables(model) -> list:
    """All that a step of training changes, metrics aside (they start anew each epoch)."""
    return [*model.variables, *model.optimizer.variables]


def _restore(variables: list, values: list) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


class Trainer:
    """A compiled model with its compiled epochs, which any number of starts can share.

    `train` and `batch_size` are those of every call of `fit`. Raises LabError, in one line, where the model cannot be
    trained or not be repeated.
    """

    def __init__(self, model, train: Split, batch_size: int):
        prepare(model, train)
        self.model, self.batch_size = model, batch_size
        self.start_values = [variable.numpy() for variable in _variables(model)]
        self.jit = use_xla(model)
        try:
            self._compile(train)
        except (tf.errors.OpError, NotImplementedError):
            self.jit = False  # a loss or a metric that XLA cannot compile: that, too, is decided by the model alone
            self._compile(train)
        except LabError:
            raise
        except Exception as error:
            raise LabError(f"the model cannot be trained: {one_line(error)}") from None

    def _compile(self, train: Split) -> None:
        """Trace and compile both functions, so that no epoch's time holds the compiler's."""
        self._train_epoch = tf.function(self._train_steps, jit_compile=self.jit, autograph=False)
        self._evaluate_all = tf.function(self._test_steps, jit_compile=self.jit, autograph=False)
        x, y = tf.convert_to_tensor(train.x), tf.convert_to_tensor(train.y)
        order, none_left = tf.range(len(train)), tf.constant(len(train))  # compiles, and trains on the last batch alone
        with _fast_dropout(flatten(self.model)) if self.jit else nullcontext():
            before = _random_states()
            traced = self._train_epoch.get_concrete_function(x, y, order, none_left)
            self._refuse_hidden_state(traced.graph, drawn=_random_states() != before)
            metrics = self._train_epoch(x, y, order, none_left)
        for name, value in metrics.items():
            if value.shape.rank:
                raise LabError(f"the metric {name} gives {value.shape[0]} numbers; give it an average, to make it one")
        self.restart()

    def _refuse_hidden_state(self, graph, drawn: bool) -> None:
        known = {id(v.value) for v in (*_variables(self.model), *self.model.metrics_variables)}
        traced = graph.as_graph_def()
        nodes = [*traced.node, *(node for function in traced.library.function for node in function.node_def)]
        unseeded = drawn or any(node.op.startswith(UNSEEDED_OPS) for node in nodes)
        if unseeded or any(id(variable) not in known for variable in graph.variables):
            raise LabError(
                "the model keeps state outside its layers, such as random numbers drawn without a seed, and would not "
                "repeat: give the layer a keras.random.SeedGenerator, or make the state one of its weights"
            )

    def _train_steps(self, x, y, order, start):
        """Train on the images in `order` from `start`, batch by batch, the last one partial; return the metrics."""
        batch, full = self.batch_size, x.shape[0] // self.batch_size * self.batch_size

        def step(rows):
            self.model.train_step((tf.gather(x, rows), tf.gather(y, rows)))

        def body(i):
            step(tf.slice(order, [i], [batch]))
            return (i + batch,)

        return self._all_steps(full, x.shape[0], start, body, lambda: step(order[full:]))

    def _test_steps(self, x, y, start):
        """Evaluate all images from `start` in batches, as Keras does; return the metrics."""
        batch, full = self.batch_size, x.shape[0] // self.batch_size * self.batch_size

        def body(i):
            rows = tf.range(batch) + i
            self.model.test_step((tf.gather(x, rows), tf.gather(y, rows)))
            return (i + batch,)

        return self._all_steps(full, x.shape[0], start, body, lambda: self.model.test_step((x[full:], y[full:])))

    def _all_steps(self, full, n, start, body, last):
        for metric in self.model.metrics:
            metric.reset_state()
        if full:
            tf.while_loop(lambda i: i < full, body, (start,))
        if full < n:
            last()
        return self.model.get_metrics_result()

    def restart(self, model=None) -> None:
        """Go back to the weights this trainer was made with, or to those of another, equal model just built."""
        values = self.start_values
        if model is not None:
            model.optimizer.build(model.trainable_variables)
            values = [variable.numpy() for variable in _variables(model)]
        _restore(_variables(self.model), values)

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
        answers = [
            self.model(tf.convert_to_tensor(split.x[i : i + 1000]), training=False) for i in range(0, len(split), 1000)
        ]
        return tf.concat(answers, axis=0).numpy().astype(np.float16)


def _random_states() -> tuple:
    """Where the generators of Python and numpy stand: a number drawn while a function is traced stays in it."""
    _, key, position, *_ = np.random.get_state()
    return random.getstate(), key.tobytes(), position


def _numbers(results: dict) -> dict[str, float]:
    """Keras's float32 results as the shortest decimals that stand for them, so that they read well and read back."""
    return {name: float(str(np.float32(value.numpy()))) for name, value in results.items()}


def fit(
    model,
    x: np.ndarray,
    y: np.ndarray,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    seed: int = 0,
    shuffle: bool = True,
    validation_data: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, list[float]]:
    """`model.fit` by compiled epochs: trains `model` in place and returns its history, with `seconds` an epoch.

    Raises LabError, in one line, for what cannot be trained and for a setting of the wrong kind.
    """
    for name, value, least in (("epochs", epochs, 1), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        check_whole(f"fit: {name}", value, least)
    if not (validation_data is None or (isinstance(validation_data, (tuple, list)) and len(validation_data) == 2)):
        raise LabError("fit: validation_data must be a pair, images and labels")
    train = Split(x, y)
    evaluate = {} if validation_data is None else {"val": Split(*validation_data)}
    return Trainer(model, train, batch_size).fit(train, epochs=epochs, seed=seed, shuffle=shuffle, evaluate=evaluate)


def use_one_thread() -> None:
    """Give TensorFlow one thread and no GPU, on which the bits of every recorded run rest."""
    if tf.config.threading.get_intra_op_parallelism_threads() == 1:
        return
    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        raise LabError("TensorFlow already runs on several threads in this worker: start the workers afresh") from None
