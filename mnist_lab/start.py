"""Tells what a network starts training from, where its builder decides that and not the seed of the run.

Initializers and dropout that are given no seed take one from Python's generator when they are made. So a builder is
called here under a seed of ours, and what it returns is compared with what that seed must give.
"""

import random
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from mnist_lab.describe import describe_value, digest_variables
from mnist_lab.errors import LabError
from mnist_lab.train import flatten, is_keras_own, keras

SEEDS = 7_046_029, 25_214_903  # which nobody would choose
DRAWN = 1_000  # numbers that are known of a seed; a network that takes more only takes longer to look at
_made: dict[int, weakref.ref] = {}  # every weight and random state that a builder made here, by its id


def build_seeded(build: Callable, where: str) -> tuple[keras.Model, dict[str, str]]:
    """Return the model that `build()` gives, and what of its start the seed of a run does not decide, by the place.

    That is what the builder sets by itself (the weights of an adapted layer, or of a file), a seed that it gives, and
    what it freezes. Nothing, for most. The state of the generators of Python and numpy is left as it was.

    Raises LabError, in one line that begins with `where`, for a start that does not repeat, or comes from outside.
    """
    model, told, after = _build(build, where, SEEDS[0])
    if not any(kind in ("drawn", "own", "set") for kind, _, _ in told.values()):
        return model, {place: " ".join(entry).strip() for place, entry in told.items()}
    _, again, _ = _build(build, where, SEEDS[0])
    _, other, after_other = _build(build, where, SEEDS[1])
    start = {}
    for place, entry in told.items():
        kind, frozen = entry[0], entry[2]
        if kind == "set" and again.get(place) != entry:
            raise LabError(
                f"{where}: the builder sets weights that come out differently each time, whatever the seed; let it "
                "draw from np.random or keras.random, and return a new network each time"
            )
        if kind in ("drawn", "own") and other.get(place) != entry:  # as it should be
            start |= {place: frozen} if frozen else {}
            continue
        if kind == "drawn" and after != after_other:  # it does not seed the generators itself
            raise LabError(
                f"{where}: every seed would draw the same numbers, since an initializer or a layer is made outside the "
                "builder: make it inside, or give it a seed"
            )
        start[place] = " ".join(entry).strip()
    return model, start


def check_new(model, where: str) -> None:
    """Raises LabError, in one line that begins with `where`, for a weight that a builder had made for another model."""
    if any(id(variable) in _made and _made[id(variable)]() is variable for variable in model.variables):
        raise LabError(
            f"{where}: the builder returned a layer or a model that it had returned before; it must make a new one "
            "each time"
        )


def _build(build: Callable, where: str, seed: int) -> tuple[keras.Model, dict[str, tuple[str, str, str]], tuple]:
    """Build under a seed: the model, what of it is not as the seed must give it, and where the generator stood then."""
    states = random.getstate(), np.random.get_state()
    try:
        drawn = _draw(seed)
        keras.utils.set_random_seed(seed)
        with _watch_weights() as made:
            model = build()
        after = random.getstate()
        check_new(model, where)
        return model, _tell_start(model, made, drawn), after
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@cache
def _draw(seed: int) -> list[str]:
    """The numbers that Keras's layers and initializers take from a seed, one after the other."""
    keras.utils.set_random_seed(seed)
    return [str(keras.initializers.RandomNormal().seed) for _ in range(DRAWN)]


@contextmanager
def _watch_weights() -> Iterator[dict[int, tuple]]:
    """Fill a dict with every weight made, by its id: it, its layer, its initializer, what that gave, if trained."""
    made, add_weight = {}, keras.layers.Layer.add_weight

    def watched(layer, *args, **settings):
        known = dict(zip(("shape", "initializer", "dtype"), args, strict=False)) | settings
        usual = "glorot_uniform" if "float" in str(known.get("dtype") or layer.variable_dtype) else "zeros"
        initializer = keras.initializers.get(usual if known.get("initializer") is None else known["initializer"])
        given = []

        def initialize(*args, **settings):  # called when Keras sees fit
            given.append(initializer(*args, **settings))
            return given[-1]

        if len(args) > 1:
            args = args[0], initialize, *args[2:]
        else:
            settings["initializer"] = initialize
        weight = add_weight(layer, *args, **settings)
        made[id(weight)] = weight, layer, initializer, given, weight.trainable
        return weight

    keras.layers.Layer.add_weight = watched
    try:
        yield made
    finally:
        keras.layers.Layer.add_weight = add_weight


def _tell_start(model, made: dict[int, tuple], drawn: list[str]) -> dict[str, tuple[str, str, str]]:
    """How each weight and state of dropout begins, by its place, unless the seed decides: the kind, what, if frozen.

    The kinds are "drawn" from a seed, "given" one, "set" by hand, by an initializer of one's "own", and just "made".
    """
    layers = {id(weight): layer for layer in flatten(model) for weight in layer.weights}
    states = {id(s.state): s for layer in flatten(model) for s in layer._seed_generators}
    trained = {id(weight) for weight in model.trainable_variables}
    told, turns = {}, []
    for place, variable in enumerate(model.variables):
        if id(variable) in states:
            seed = states[id(variable)].get_config()["seed"]
            kind, what = ("drawn", str(variable.numpy()[0])) if seed is None else ("given", str(seed))
            frozen = False
        elif id(variable) in made:
            _, layer, initializer, given, trainable = made[id(variable)]
            kind, what = _tell_weight(variable, initializer, *given[-1:])
            if not is_keras_own(type(layer)):  # whose arguments say nothing of it
                parts = initializer, variable.regularizer, variable.constraint
                told[f"{place} by"] = "made", repr([describe_value(type(layer).__name__, part) for part in parts]), ""
            frozen = trainable and id(variable) not in trained
        else:
            initializer = getattr(layers[id(variable)], f"{variable.name}_initializer", None)
            first = [initializer(variable.shape, variable.dtype)] if _is_of_keras(initializer) else []
            kind, what = _tell_weight(variable, initializer, *first)
            frozen = id(variable) not in trained
        from_seed = kind == "drawn" and what in drawn
        if from_seed or id(variable) in made:
            _made[id(variable)] = weakref.ref(variable)
        if from_seed and id(variable) in made:
            turns.append(drawn.index(what))
        if frozen or not (from_seed or kind == "made"):
            told[str(place)] = kind, what, "frozen" if frozen else ""
    if turns != sorted({*turns}):  # made in another order, or by one initializer, they start from other weights
        told["order"] = "made", str([sorted({*turns}).index(turn) for turn in turns]), ""
    if model.optimizer.built or int(model.optimizer.iterations):
        told["optimizer"] = "set", digest_variables(model.optimizer.variables), ""
    return told


def _tell_weight(weight, initializer, first=None) -> tuple[str, str]:
    if first is None or keras.ops.convert_to_numpy(first).tobytes() != weight.numpy().tobytes():
        return "set", digest_variables([weight])
    if not _is_of_keras(initializer):
        return "own", digest_variables([weight])
    if initializer.get_config().get("seed", 0) is None:
        return "drawn", str(initializer.seed)
    return "made", ""


def _is_of_keras(initializer) -> bool:
    return isinstance(initializer, keras.initializers.Initializer) and is_keras_own(type(initializer))
