"""Is it a compiled model that fits the data, and what does it do in its first steps?"""

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from mnist_lab.data import Split
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras, tf

PROBE_SEED = 7_046_029  # which nobody would choose


def list_layers(model) -> list:
    """The model and all layers inside it, those of custom layers too."""
    return [*model._flatten_layers()]  # private: nothing public sees into a custom layer


def first_line(error: Exception) -> str:
    """The line of an error of Keras or TensorFlow that says what is wrong."""
    lines = [line.strip() for line in re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()]
    wrappers = ("Exception encountered", "Graph execution", "Detected at")
    first = next((line for line in lines if line and not line.startswith(wrappers)), "no message")
    return first if isinstance(error, LabError) else f"{type(error).__name__}: {first}"


def build_model(build: Callable, settings: Mapping[str, object], train: Split, name: str):
    """Call a builder; raises LabError, which begins with `name`, if no compiled model comes back that fits the data."""
    try:
        model = build(**settings)
    except Exception as error:
        raise LabError(f"{name}: build() raised {first_line(error)}") from None
    if not isinstance(model, keras.Model):
        raise LabError(f"{name}: build() must `return` a compiled keras.Model (got a {type(model).__name__})")
    if not model.compiled:
        raise LabError(f"{name}: the model is not compiled; call model.compile(optimizer=..., loss=..., metrics=[...])")
    try:
        if not model.built or not model.trainable_variables:
            model(tf.convert_to_tensor(train.x[:2]))
        shapes = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    except Exception as error:
        raise LabError(f"{name}: the model does not fit the data: {first_line(error)}") from None
    for what, shape, expected in zip(("input", "output"), shapes, (train.x.shape[1:], train.y.shape[1:]), strict=True):
        if shape != expected:
            raise LabError(f"{name}: the model's {what} has shape {shape}, but the data has {expected}")
    return model


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all generators, and leave Python's and numpy's as they were."""
    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def unchanged(model) -> Iterator[list]:
    """Yield all variables that training changes, and restore them at the end; not metrics, which start anew anyway."""
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    values = [variable.numpy() for variable in variables]
    yield variables
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def count_operations(model) -> int:
    """About how many multiplications and additions a model takes for one image."""
    operations = 0
    for layer in list_layers(model):
        kernel, output = (getattr(getattr(layer, name, None), "shape", ()) for name in ("kernel", "output"))
        positions = math.prod(output[1:-1]) if len(kernel) > 2 else 1  # 1 for a layer inside another: it has no output
        operations += 2 * math.prod(kernel) * positions if kernel else 0
    return operations


def check_start(build: Callable, settings: Mapping[str, object], train: Split, model, name: str) -> None:
    """Build once more under another seed; raises LabError if it is not a new one, or draws from equal seeds."""
    with seeded(PROBE_SEED + 1):
        other = build_model(build, settings, train, name)
    if {id(variable) for variable in model.variables} & {id(variable) for variable in other.variables}:
        raise LabError(f"{name}: build() returned a layer that it had returned before; make a new one each time")
    values = [[value for layer in list_layers(one) for value in vars(layer).values()] for one in (model, other)]
    kind = keras.initializers.Initializer
    seeds, others = ([one.seed for one in found if isinstance(one, kind) and hasattr(one, "seed")] for found in values)
    if seeds and seeds == others:
        advice = "make layers and initializers inside build(), and give them no seed"
        raise LabError(f"{name}: the initial weights do not depend on the seed; {advice}")


def probe_model(model, train: Split, name: str) -> tuple[list[float], list[str]]:
    """Train a new model for two steps on eight images, then undo it. Raises LabError if it cannot be trained.

    Returns the losses of the two steps, the loss in inference after them, and the norm of each initial weight, which
    identify the model; and the names of its metrics.
    """
    x, y = tf.convert_to_tensor(train.x[:8]), tf.convert_to_tensor(train.y[:8])
    norms = [float(np.linalg.norm(np.asarray(weight, np.float64))) for weight in model.get_weights()]
    losses = []
    try:
        with unchanged(model):
            for step in (model.train_step, model.train_step, model.test_step):
                for metric in model.metrics:
                    metric.reset_state()
                losses.append(float(step((x, y))["loss"]))
    except Exception as error:
        if "sparse" in str(model.loss):
            raise LabError(f"{name}: the labels are one-hot; use categorical_crossentropy, not {model.loss}") from None
        raise LabError(f"{name} cannot be trained: {first_line(error)}") from None
    return losses + norms, [*model.get_metrics_result()]
