"""Describes a compiled Keras model in plain data: all that decides what training makes of it, and nothing else.

The names of layers, models and optimizers are left out, and so is every argument left at its default: a newer Keras
that adds an argument describes an old model as before. Learning rates are always there. Code that is not Keras's own
enters by its source, and by what its objects keep.
"""

import hashlib
import inspect
import re
from collections.abc import Iterable
from functools import cache

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.source import (
    PLAIN,
    digest_source,
    has_config,
    is_array,
    is_from_library,
    is_own_code,
    stand_for,
    to_plain,
)
from mnist_lab.train import flatten, is_keras_own, keras, one_line, tf

# what Keras itself keeps in a layer and no configuration tells for certain
COUNTING = {"_supports_masking", "activity_regularizer", "autocast"}
# of the network that is being described: all its layers, those told already, and the objects inside one another by now
_parts: list = []
_told: list = []
_path: list = []


def describe_model(model) -> dict:
    """All that decides the outcome of training a compiled model, as nested dicts, lists, strings and numbers.

    Raises LabError for a part whose configuration or source cannot be had.
    """
    _parts[:] = flatten(model)
    try:
        return _describe_compiled(model)
    except RecursionError:
        raise LabError("the network uses something that holds itself, by which it cannot be recognised again") from None
    finally:
        _parts.clear()
        _told.clear()


def _describe_compiled(model) -> dict:
    told = model._compile_config.config  # what compile() was given; the public get_compile_config() loses functions
    compiled = {
        "optimizer": _describe(model.optimizer, always=("learning_rate",)),
        "loss": to_plain(model.loss, _describe_loss),  # a second compile() without one keeps the first
        "metrics": to_plain(told.get("metrics"), _describe_metric),
        "weighted_metrics": to_plain(told.get("weighted_metrics"), _describe_metric),
        "loss_weights": to_plain(told.get("loss_weights")),
    }
    layers = [layer for layer in _parts if is_keras_own(type(layer))]
    replaced = [_describe_replaced(thing) for thing in (*layers, model.optimizer) if is_keras_own(type(thing))]
    compiled |= {"replaced": replaced} if any(replaced) else {}
    penalties = {str(place): told for place, told in enumerate(map(_describe_penalties, layers)) if told}
    compiled |= {"penalties": penalties} if penalties else {}
    shared = _describe_shared(_parts)
    compiled |= {"shared": shared} if shared else {}
    epsilon = keras.config.epsilon()
    compiled |= {"epsilon": epsilon} if epsilon != 1e-7 else {}
    if getattr(model.optimizer, "weight_decay", None):
        excluded = [not model.optimizer._use_weight_decay(weight) for weight in model.trainable_variables]
        compiled |= {"undecayed": excluded} if any(excluded) else {}
    return {"network": _describe(model), "input": to_plain(model.input_shape), **compiled}


def _describe_replaced(thing) -> dict:
    """Describe the methods that were replaced on this very object of Keras's."""
    methods = {n: v for n, v in vars(thing).items() if n != "loss" and inspect.isroutine(getattr(type(thing), n, None))}
    return {name: _describe_function(value) for name, value in methods.items() if is_own_code(value)}


def _describe_penalties(thing) -> list:
    """Describe the regularizers and constraints that a layer's weights have and its arguments do not tell."""
    told = []
    for weight in _own_variables(thing):
        for kind in ("regularizer", "constraint"):
            penalty = getattr(weight, kind, None)
            if penalty is not None and penalty is not getattr(thing, f"{weight.name}_{kind}", None):
                told.append([weight.name, describe_value(f"{weight.name}: {kind}", penalty)])
    return told


def _describe_shared(layers: list) -> list[int]:
    """Which layers, weights and random states are the same: each by where it stands first. Nothing if none are."""
    every = [id(thing) for layer in layers for thing in (layer, *_own_variables(layer), *layer._seed_generators)]
    return [every.index(one) for one in every] if len(set(every)) < len(every) else []


def _own_variables(layer) -> list:
    return [*getattr(layer, "_trainable_variables", []), *getattr(layer, "_non_trainable_variables", [])]


def differs(told, other, where: str = "") -> str:
    """Where two descriptions differ first: "Dense units"; nothing where they are equal."""
    where = told["class"] if isinstance(told, dict) and "class" in told else where
    if repr(told) == repr(other):  # nan equals nan
        return ""
    if isinstance(told, dict) and isinstance(other, dict) and told.keys() == other.keys():
        return next(filter(None, (differs(told[n], other[n], f"{where} {n}") for n in told)))
    if isinstance(told, list) and isinstance(other, list) and len(told) == len(other):
        return next(filter(None, (differs(*pair, where) for pair in zip(told, other, strict=True))))
    return where.replace(" settings", "").strip() or "compile"


def _describe(thing, always: tuple[str, ...] = ()) -> dict:
    """Describe a Keras object (layer, optimizer, loss, metric, initializer...) by its class and its settings."""
    if any(thing is one for one in _path):
        return {"class": type(thing).__name__, "itself": True}
    if isinstance(thing, keras.layers.Layer) and _parts:
        again = next((place for place, one in enumerate(_told) if one is thing), None)
        if again is not None:
            return {"class": type(thing).__name__, "again": again}
        _told.append(thing)
    _path.append(thing)
    try:
        return _describe_object(thing, always)
    finally:
        _path.pop()


def _describe_object(thing, always: tuple[str, ...]) -> dict:
    kind = type(thing)
    text = {"class": kind.__name__} if is_keras_own(kind) else {"class": kind.__name__, "source": digest_source(kind)}
    if isinstance(thing, keras.Model) and is_keras_own(kind):
        return text | _describe_network(thing)
    try:
        config = dict(thing.get_config())
    except Exception as error:
        if not isinstance(error, (NotImplementedError, TypeError)) or _tells_itself(thing):
            raise LabError(
                f"{kind.__name__} cannot be recognised again: get_config() fails ({one_line(error)})"
            ) from None
        # Keras's own fails for what it cannot save; then what the object keeps is told
        config = {"trainable": thing.trainable} if isinstance(thing, keras.layers.Layer) else {}
    # a functional subclass; one with an __init__ of its own does not tell its layers
    if isinstance(thing, keras.Model) and hasattr(thing, "operations") and "layers" in config:
        return text | {"settings": _describe_kept(thing, set())} | _describe_network(thing)
    if isinstance(thing, keras.layers.InputLayer):
        return text | {"settings": {"batch_shape": to_plain(config["batch_shape"])}}
    config |= _hidden_arguments(thing, config)
    required = [name for name, parameter in _parameters(thing).items() if parameter.default is parameter.empty]
    defaults = _make_defaults(thing, config, required)
    settings = {}
    for name, value in config.items():
        if name == "seed" and defaults.get(name) is not None and _parameters(thing)[name].default is None:
            continue  # drawn where none is given; start.py tells of one that is
        given = name in required or name in always or name not in defaults
        if name not in ("name", "dtype") and (given or not _same(defaults[name], value)):
            settings[name] = _describe_setting(thing, name, value)
    if not is_keras_own(kind):
        settings |= _describe_kept(thing, {*config})
    policy = getattr(getattr(thing, "_dtype_policy", None), "name", "float32")
    return text | {"settings": settings} | ({} if policy == "float32" else {"policy": policy})


def _describe_network(model) -> dict:
    """The layers of a Sequential or functional model in order and, for the latter, which feeds which."""
    if isinstance(model, keras.Sequential):
        return {"layers": [_describe(layer) for layer in model.layers]}
    try:
        config = model.get_config()
    except NotImplementedError:
        raise LabError(
            "a functional model cannot be recognised again, since one of its layers takes what Keras cannot save: give "
            "that layer a get_config() method"
        ) from None
    place = {layer["name"]: f"#{number}" for number, layer in enumerate(config["layers"])}
    ends = {end: _rename(config[end], place) for end in ("input_layers", "output_layers")}
    ends = {end: told if isinstance(told[0], list) else [told] for end, told in ends.items()}  # as before Keras 3.12
    nodes = [to_plain(_rename(_history(layer["inbound_nodes"]), place)) for layer in config["layers"]]
    operations = {operation.name: operation for operation in model.operations}
    return {"layers": [_describe(operations[name]) for name in place], "nodes": nodes, **ends}


def _history(node):
    """What feeds a node: the history of every Keras tensor in it, other arguments as they are."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        return node["config"]["keras_history"]
    if isinstance(node, dict):
        return {name: _history(value) for name, value in node.items()}
    return [_history(value) for value in node] if isinstance(node, (list, tuple)) else node


def _rename(node, place: dict):
    if isinstance(node, dict):
        return {name: _rename(value, place) for name, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_rename(value, place) for value in node]
    return place.get(node, node) if isinstance(node, str) else node


def _parameters(thing) -> dict[str, inspect.Parameter]:
    """What the class of `thing` is made from, by name."""
    _, *every = inspect.signature(type(thing).__init__).parameters.values()
    return {p.name: p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _make_defaults(thing, config: dict, required: list[str]) -> dict:
    """The configuration of the same with every argument at its default but the required ones."""
    try:
        plain = type(thing)(**{name: getattr(thing, name, config.get(name)) for name in required})
        told = plain.get_config()
    except Exception:
        return {}  # then every argument enters the description
    return told | _hidden_arguments(plain, told)


def _hidden_arguments(thing, config: dict) -> dict:
    """What a class takes and keeps, where its `get_config` does not tell of it: some of Keras's leave arguments out.

    Raises LabError for an argument that a user's class does not keep under its name either.
    """
    maker = _definer(type(thing), "__init__")
    of_user = not is_keras_own(maker) and maker is not object
    # what it keeps is not all of it where it is made of layers, or says itself what counts
    must_tell = isinstance(thing, keras.Model) or _tells_itself(thing)
    kept = {**getattr(thing, "_fn_kwargs", {}), **getattr(thing, "__dict__", {})}
    hidden = {}
    for name in _parameters(thing):
        if name in config or name in ("name", "dtype"):
            continue
        place = next((place for place in (name, f"_{name}") if place in kept), None)
        if place:
            hidden[name] = kept[place]
        elif of_user and hasattr(thing, name):
            hidden[name] = getattr(thing, name)
        elif of_user and must_tell:
            raise LabError(f"{type(thing).__name__} takes {name} and keeps no such attribute: tell it in get_config()")
    if hasattr(thing, "get_vocabulary"):  # of an adapted layer
        hidden["vocabulary"] = thing.get_vocabulary()
    return hidden


def _tells_itself(thing) -> bool:
    """Whether an object's class, or a class of a user's that it inherits from, has a get_config of its own."""
    return not is_keras_own(_definer(type(thing), "get_config"))


def _definer(kind: type, method: str) -> type:
    """The class from which `kind` has a method."""
    return next(base for base in kind.__mro__ if method in vars(base))


def _describe_kept(thing, told: set[str]) -> dict:
    """Describe what else an object of a user's class keeps. Raises LabError for what cannot be told."""
    base = next((kind for kind in type(thing).__mro__ if is_keras_own(kind)), object)
    plain, of_keras = _keras_attributes(base)
    described = {}
    for name, value in vars(thing).items():
        if {name, name.removeprefix("_")} & told or name in of_keras or name.startswith("_self_"):
            continue
        if _is_state(value) or isinstance(value, keras.InputSpec) or (name in plain and _same(plain[name], value)):
            continue
        try:
            if isinstance(value, keras.layers.Layer) and not isinstance(thing, keras.layers.Layer):
                described[name] = describe_outside(value)
            else:
                described[name] = describe_value(f"{type(thing).__name__}: {name}", value)
        except LabError:
            if not _tells_itself(thing):
                raise LabError(
                    f"{type(thing).__name__} keeps {name}, a {type(value).__name__}, by which it cannot be recognised "
                    "again: give it a get_config() method that tells of all that counts"
                ) from None
    return described


def _is_state(value) -> bool:
    """Whether a value is made of weights and random states alone: what they start with is told by start.py."""
    if isinstance(value, (list, tuple, dict)) and value:
        return all(map(_is_state, value.values() if isinstance(value, dict) else value))
    return isinstance(value, (keras.Variable, keras.random.SeedGenerator))


def describe_outside(thing) -> dict:
    """Describe a Keras object that code refers to, with its weights if it is no part of the network: a teacher's."""
    weights = () if any(thing is part for part in _parts) else getattr(thing, "weights", ())
    return _describe(thing) | ({"weights": digest_variables(weights)} if weights else {})


def digest_variables(variables: Iterable) -> str:
    """A digest of the values of variables."""
    return hashlib.sha256(b"".join(variable.numpy().tobytes() for variable in variables)).hexdigest()


@cache
def _keras_attributes(base: type) -> tuple[dict, set[str]]:
    """What a plain object of one of Keras's classes keeps, and the attributes that Keras gives to its whole family."""
    kinds = keras.Model, keras.layers.Layer, keras.optimizers.Optimizer, keras.losses.Loss, keras.metrics.Metric
    family = next((kind for kind in kinds if issubclass(base, kind)), None)
    if family is keras.Model:
        inputs, dense = keras.Input((1,)), keras.layers.Dense(1)
        made = [keras.Model(inputs, dense(inputs)), keras.Sequential([inputs, dense])]
        for model in made:
            model.compile()
    elif family is keras.optimizers.Optimizer:
        made = [family(learning_rate=0.01)]
    else:
        made = [family()] if family else []
    every = {name: value for one in made for name, value in vars(one).items()}
    try:
        return every | vars(base()), {*every} - COUNTING
    except Exception:  # it takes arguments, which are told by themselves
        return every, {*every} - COUNTING


def _same(a, b) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return np.array_equal(a, b)


def _describe_setting(thing, name: str, value):
    """Describe one entry of a configuration."""
    raw = getattr(thing, f"_{name}", getattr(thing, name, None))  # optimizer.learning_rate would call a function
    return _describe_value(f"{type(thing).__name__}: {name}", raw, value)


def describe_value(where: str, value):
    """Describe any value. Raises LabError, in one line that begins with `where`, for one that cannot be."""
    return _describe_value(where, value, value)


def _describe_value(where: str, raw, value):
    """Describe a value, as a configuration tells it; what is only named there (a user's function) as it is, `raw`."""
    if is_own_code(raw):
        return _describe_function(raw)
    if is_array(raw):
        return to_plain(raw)
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        if has_config(raw):
            return _describe(raw)
        if value["class_name"] == "function":
            return {"function": value["config"]}
        try:
            made = keras.saving.deserialize_keras_object(value)
            return _describe(made) if has_config(made) else to_plain(made)
        except LabError:
            raise
        except Exception:
            raise LabError(f"{where} cannot be recognised again") from None
    if has_config(value):
        return _describe(value)
    if inspect.isfunction(value):
        return _describe_function(value)
    if isinstance(value, dict):
        inner = raw if isinstance(raw, dict) else {}
        return [[str(name), _describe_value(where, inner.get(name), one)] for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        inner = raw if isinstance(raw, (list, tuple)) and len(raw) == len(value) else [None] * len(value)
        return [_describe_value(where, *pair) for pair in zip(inner, value, strict=True)]
    if isinstance(value, PLAIN) or is_array(value):
        return to_plain(value)
    return stand_for("", where, value, ())


def _describe_loss(loss) -> dict:
    """Describe a loss, Keras's own the same by whichever name: "mse", the function, or an object of the class."""
    try:
        loss = keras.losses.get(loss)
    except ValueError:
        raise LabError(f"unknown loss {loss!r}") from None
    if inspect.isfunction(loss) and is_from_library(loss):
        plain = loss.__name__.replace("_", "")
        classes = {name.lower(): kind for name, kind in vars(keras.losses).items() if inspect.isclass(kind)}
        return _describe(classes[plain]()) if plain in classes else {"function": loss.__name__}
    return _describe_measure(loss)


def _describe_measure(measure) -> dict:
    if isinstance(measure, tf.types.experimental.PolymorphicFunction):
        measure = measure.python_function
    return _describe_function(measure) if is_own_code(measure) or inspect.isfunction(measure) else _describe(measure)


def _describe_function(function) -> dict:
    if not inspect.isfunction(function):
        return {"function": type(function).__name__, "source": stand_for("", "the function", function, ())}
    return {"function": function.__name__} | ({} if is_from_library(function) else {"source": digest_source(function)})


def _describe_metric(metric):
    """Describe a metric, with a name that it was given, since a column of the record bears it."""
    if isinstance(metric, str):
        return metric
    told = _describe_measure(metric)
    if not isinstance(metric, keras.Metric):
        return told
    parameter = inspect.signature(type(metric).__init__).parameters.get("name")
    usual = getattr(parameter, "default", None) or type(metric).__name__  # in the latter case Keras counts them
    plain = re.sub(r"_[0-9]+$", "", metric.name).replace("_", "").lower()
    return told if metric.name == usual or plain == usual.lower() else told | {"name": metric.name}
