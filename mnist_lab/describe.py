"""Describes a compiled Keras model in plain data: all that decides what training makes of it, and nothing else.

The names of layers, models, optimizers and metrics are left out, and so is every argument left at its default: a newer
Keras that adds an argument describes an old model as before. Learning rates are always there. Code that is not Keras's
own enters by its source.
"""

import dis
import hashlib
import inspect
import linecache
import textwrap
import types

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.train import is_keras_own, keras

PLAIN = (bool, int, float, str, bytes, type(None))
LIBRARIES = {"keras", "tensorflow", "numpy", "builtins", "math"}


def describe_model(model) -> dict:
    """All that decides the outcome of training a compiled model, as nested dicts, lists, strings and numbers.

    Raises LabError for a part whose configuration or source cannot be had.
    """
    told = model._compile_config.config  # what compile() was given; the public get_compile_config() loses functions
    compiled = {
        "optimizer": _describe(model.optimizer, always=("learning_rate",)),
        "loss": _plain(model.loss, _describe_loss),  # a second compile() without one keeps the first
        "metrics": _plain(told.get("metrics"), _describe_metric),
        "weighted_metrics": _plain(told.get("weighted_metrics"), _describe_metric),
        "loss_weights": _plain(told.get("loss_weights")),
    }
    return {"network": _describe(model), "input": _plain(model.input_shape), **compiled}


def without_sources(told):
    """A description without what is told of code that is not Keras's own."""
    if isinstance(told, dict):
        return {name: without_sources(inner) for name, inner in told.items() if name != "source"}
    return [without_sources(inner) for inner in told] if isinstance(told, list) else told


def _describe(thing, always: tuple[str, ...] = ()) -> dict:
    """Describe a Keras object (layer, optimizer, loss, metric, initializer...) by its class and its settings."""
    kind = type(thing)
    text = {"class": kind.__name__} if is_keras_own(kind) else {"class": kind.__name__, "source": _source(kind)}
    if isinstance(thing, keras.Model) and is_keras_own(kind):
        return text | _describe_network(thing)
    try:
        config = dict(thing.get_config())
    except Exception:
        raise LabError(f"{kind.__name__} cannot be recognised again: give it a get_config() method") from None
    if isinstance(thing, keras.layers.InputLayer):
        config = {"batch_shape": config["batch_shape"]}
    config |= _hidden_arguments(thing, config)
    defaults = _default_config(thing, config)
    settings = {}
    for name, value in config.items():
        if name in ("name", "dtype") or (name in defaults and name not in always and _same(defaults[name], value)):
            continue
        settings[name] = _describe_setting(thing, name, value)
    policy = getattr(getattr(thing, "dtype_policy", None), "name", "float32")
    return text | {"settings": settings} | ({} if policy == "float32" else {"policy": policy})


def _describe_network(model) -> dict:
    """The layers of a Sequential or functional model in order and, for the latter, which feeds which."""
    if isinstance(model, keras.Sequential):
        return {"layers": [_describe(layer) for layer in model.layers]}
    config = model.get_config()
    place = {layer["name"]: f"#{number}" for number, layer in enumerate(config["layers"])}
    ends = {end: _rename(config[end], place) for end in ("input_layers", "output_layers")}
    ends = {end: told if isinstance(told[0], list) else [told] for end, told in ends.items()}  # as before Keras 3.12
    nodes = [_plain(_rename(_history(layer["inbound_nodes"]), place)) for layer in config["layers"]]
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


def _parameters(thing) -> list[inspect.Parameter]:
    """What the class of `thing` is made from, by name."""
    every = list(inspect.signature(type(thing).__init__).parameters.values())[1:]
    return [p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def _default_config(thing, config: dict) -> dict:
    """What the other arguments are where only the required ones are given."""
    required = [parameter.name for parameter in _parameters(thing) if parameter.default is parameter.empty]
    try:
        other = type(thing)(**{name: getattr(thing, name, config.get(name)) for name in required})
        return {name: value for name, value in other.get_config().items() if name not in required}
    except Exception:
        return {}  # then every argument enters the description


def _hidden_arguments(thing, config: dict) -> dict:
    """What a user's class takes and keeps, where the `get_config` it inherits does not tell of it.

    Raises LabError for an argument that is not kept under its name either.
    """
    if is_keras_own(type(thing)) or "__init__" not in vars(type(thing)):
        return {}
    hidden = [parameter.name for parameter in _parameters(thing) if parameter.name not in config]
    for name in hidden:
        if name not in ("name", "dtype") and not hasattr(thing, name):
            raise LabError(f"{type(thing).__name__} takes {name} and keeps no such attribute: tell it in get_config()")
    return {name: getattr(thing, name) for name in hidden if hasattr(thing, name)}


def _same(a, b) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays: then the value enters the description
        return False


def _describe_setting(thing, name: str, value):
    """Describe one entry of a configuration; what Keras would only name there (a user's function) by its source."""
    raw = getattr(thing, f"_{name}", getattr(thing, name, None))  # optimizer.learning_rate would call a function
    if inspect.isfunction(raw) and not _from_library(raw):
        return {"function": raw.__name__, "source": _source(raw)}
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        if hasattr(raw, "get_config"):
            return _describe(raw)
        if value["class_name"] == "function":
            return {"function": value["config"]}
        try:
            return _describe(keras.saving.deserialize_keras_object(value))
        except LabError:
            raise
        except Exception:
            raise LabError(f"{type(thing).__name__}: {name} cannot be recognised again") from None
    return _plain(value)


def _describe_loss(loss) -> dict:
    """Describe a loss, Keras's own the same by whichever name: "mse", the function, or an object of the class."""
    try:
        loss = keras.losses.get(loss)
    except ValueError:
        raise LabError(f"unknown loss {loss!r}") from None
    if inspect.isfunction(loss) and _from_library(loss):
        plain = loss.__name__.replace("_", "")
        classes = {name.lower(): kind for name, kind in vars(keras.losses).items() if inspect.isclass(kind)}
        return _describe(classes[plain]()) if plain in classes else {"function": loss.__name__}
    return _describe_metric(loss)


def _describe_metric(metric):
    if isinstance(metric, str):
        return metric
    if inspect.isfunction(metric):
        return {"function": metric.__name__} | ({} if _from_library(metric) else {"source": _source(metric)})
    return _describe(metric)


def _plain(value, other=None):
    """`value` in plain data; what is none goes to `other`."""
    if isinstance(value, dict):
        return {str(name): _plain(inner, other) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(inner, other) for inner in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if value is None or (isinstance(value, PLAIN) and other is None):
        return value.hex() if isinstance(value, bytes) else value
    if other is not None:
        return other(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value).tolist()
    raise LabError(f"a setting of type {type(value).__name__} cannot be recognised again")


def _from_library(thing) -> bool:
    home = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or "builtins"
    home = home.split(".")[0]
    return home in LIBRARIES and not (home == "builtins" and inspect.isfunction(thing))


def _source(code, seen: tuple = ()) -> str:
    """A digest of the source of a function or class, with the values it uses from around it."""
    if code in seen:
        return "itself"
    seen = (*seen, code)
    if inspect.isclass(code):
        bases = [base.__qualname__ if _from_library(base) else _source(base, seen) for base in code.__bases__]
        members = {n: v for n, v in vars(code).items() if not n.startswith("__") or inspect.isfunction(v)}
        told = [bases, [(name, _used(code, name, value, seen)) for name, value in sorted(members.items())]]
        return hashlib.sha256(repr(told).encode()).hexdigest()
    try:
        text = _lambda_text(code) if code.__name__ == "<lambda>" else textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError):
        raise LabError(f"{getattr(code, '__name__', code)} cannot be recognised again: it has no source") from None
    around = {**code.__globals__, **inspect.getclosurevars(code).nonlocals}
    names = sorted(name for name in _free_names(code.__code__) if name in around)
    defaults = [(name, p.default) for name, p in inspect.signature(code).parameters.items() if p.default is not p.empty]
    values = [(name, around[name]) for name in names] + defaults
    told = [text, [(name, _used(code, name, value, seen)) for name, value in values]]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _free_names(code: types.CodeType) -> set[str]:
    """What a function takes from around it by name, the functions inside it included; attributes are none of it."""
    taken = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return taken.union(code.co_freevars, *map(_free_names, inner))


def _lambda_text(code) -> str:
    """The text of a lambda's body alone: its line may hold others."""
    spans = [p for p in code.__code__.co_positions() if None not in p and p[2:] != (0, 0)]
    lines = linecache.getlines(code.__code__.co_filename)
    (first, start), (last, end) = min((p[0], p[2]) for p in spans), max((p[1], p[3]) for p in spans)
    text = "".join(lines[first - 1 : last]).encode()
    if not text:
        raise OSError
    tail = len(lines[last - 1].encode()) - end
    return text[start : len(text) - tail].decode(errors="replace")


def _used(code, name: str, value, seen: tuple) -> str:
    """What stands for a value that a user's code refers to."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "python_function", value)  # under tf.function
    if isinstance(value, types.ModuleType):
        return value.__name__ if _from_library(value) else _module_text(value)
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__qualname__ if _from_library(value) else _source(value, seen)
    if hasattr(value, "get_config"):
        return repr(_describe(value))
    if callable(value) and _from_library(type(value)):
        return getattr(value, "__name__", type(value).__name__)
    try:
        return repr(_plain(value))
    except LabError:
        raise LabError(
            f"{code.__name__} uses {name}, a {type(value).__name__}, by which it cannot be recognised again: "
            "use plain numbers, strings, lists or arrays"
        ) from None


def _module_text(module: types.ModuleType) -> str:
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__  # written in C: a library
