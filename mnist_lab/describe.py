"""Describes a compiled Keras model in plain data: all that decides what training makes of it, and nothing else.

The names of layers, models, optimizers and metrics are left out, and so is every argument left at its default: a newer
Keras that adds an argument describes an old model as before. Learning rates are always there. Code that is not Keras's
own enters by its source.
"""

import hashlib
import inspect
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
        "loss": _plain(told["loss"], _describe_loss),
        "metrics": _plain(told.get("metrics"), _describe_metric),
        "weighted_metrics": _plain(told.get("weighted_metrics"), _describe_metric),
        "loss_weights": _plain(told.get("loss_weights")),
    }
    return {"network": _describe(model), "input": _plain(model.input_shape), **compiled}


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
    defaults = _default_config(thing, config)
    settings = {}
    for name, value in config.items():
        if name in ("name", "dtype") or (name in defaults and name not in always and defaults[name] == value):
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


def _default_config(thing, config: dict) -> dict:
    """What the other arguments are where only the required ones are given."""
    parameters = list(inspect.signature(type(thing).__init__).parameters.values())[1:]
    required = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    try:
        other = type(thing)(**{name: getattr(thing, name, config.get(name)) for name in required})
        return {name: value for name, value in other.get_config().items() if name not in required}
    except Exception:
        return {}  # then every argument enters the description


def _describe_setting(thing, name: str, value):
    """Describe one entry of a configuration; what Keras would only name there (a user's function) by its source."""
    raw = getattr(thing, name, getattr(thing, f"_{name}", None))
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
    home = (getattr(thing, "__module__", None) or "builtins").split(".")[0]
    return home in LIBRARIES and not (home == "builtins" and inspect.isfunction(thing))


def _source(code, seen: tuple = ()) -> str:
    """A digest of the source of a function or class, with the values it uses from around it."""
    if code in seen:
        return "itself"
    seen = (*seen, code)
    if inspect.isclass(code):
        bases = [base.__qualname__ if _from_library(base) else _source(base, seen) for base in code.__bases__]
        members = {name: value for name, value in vars(code).items() if not name.startswith("__") or name == "__init__"}
        told = [bases, [(name, _used(code, name, value, seen)) for name, value in sorted(members.items())]]
        return hashlib.sha256(repr(told).encode()).hexdigest()
    try:
        lines = textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError):
        raise LabError(f"{getattr(code, '__name__', code)} cannot be recognised again: it has no source") from None
    around = inspect.getclosurevars(code)
    used = {**around.globals, **around.nonlocals}
    defaults = [(name, p.default) for name, p in inspect.signature(code).parameters.items() if p.default is not p.empty]
    if code.__name__ == "<lambda>":
        # its source is the whole line, and other lambdas may stand on it
        inner = code.__code__
        lines += f"{inner.co_code.hex()} {inner.co_names} {[c for c in inner.co_consts if isinstance(c, PLAIN)]}"
    told = [lines, [(name, _used(code, name, value, seen)) for name, value in [*sorted(used.items()), *defaults]]]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _used(code, name: str, value, seen: tuple) -> str:
    """What stands for a value that a user's code refers to."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, types.ModuleType):
        return value.__name__
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__qualname__ if _from_library(value) else _source(value, seen)
    if callable(value) and _from_library(type(value)):
        return getattr(value, "__name__", type(value).__name__)
    if hasattr(value, "get_config"):
        return repr(_describe(value))
    try:
        return repr(_plain(value))
    except LabError:
        raise LabError(
            f"{code.__name__} uses {name}, a {type(value).__name__}, by which it cannot be recognised again: "
            "use plain numbers, strings, lists or arrays"
        ) from None
