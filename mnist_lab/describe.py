"""Describes a compiled Keras model in plain data: all that decides what training makes of it, and nothing else.

The names of layers, models and optimizers are left out, and so is every argument left at its default: a newer Keras
that adds an argument describes an old model as before. Learning rates are always there. Code that is not Keras's own
enters by its source, and by what its objects keep.
"""

import dis
import hashlib
import inspect
import linecache
import re
import sysconfig
import textwrap
import types
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.train import is_keras_own, keras, one_line

PLAIN = (bool, int, float, str, bytes, type(None))
LIBRARIES = {"keras", "tensorflow", "numpy", "builtins", "math", "mnist_lab"}
# Keras's kinds of objects that users write classes of, and the plainest of each
PLAINEST = {
    keras.layers.Layer: keras.layers.Layer,
    keras.optimizers.Optimizer: keras.optimizers.SGD,
    keras.losses.Loss: keras.losses.Loss,
    keras.metrics.Metric: keras.metrics.Mean,
}
# the text of every function described, by its code: a worker, which has no notebook to read it in, is sent them all
texts: dict[types.CodeType, str] = {}
LIBRARY_FUNCTIONS = (types.BuiltinFunctionType, np.ufunc, type(np.mean))


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
    if getattr(model.optimizer, "weight_decay", None):
        excluded = [not model.optimizer._use_weight_decay(weight) for weight in model.trainable_variables]
        compiled |= {"undecayed": excluded} if any(excluded) else {}
    return {"network": _describe(model), "input": _plain(model.input_shape), **compiled}


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
    kind = type(thing)
    text = {"class": kind.__name__} if is_keras_own(kind) else {"class": kind.__name__, "source": _source(kind)}
    if isinstance(thing, keras.Model) and is_keras_own(kind):
        return text | _describe_network(thing)
    try:
        config = dict(thing.get_config())
    except Exception as error:
        raise LabError(f"{kind.__name__} cannot be recognised again: get_config() fails ({one_line(error)})") from None
    # a functional subclass; one with an __init__ of its own does not tell its layers
    if isinstance(thing, keras.Model) and hasattr(thing, "operations") and "layers" in config:
        return text | {"settings": _describe_kept(thing, set(), {})} | _describe_network(thing)
    if isinstance(thing, keras.layers.InputLayer):
        return text | {"settings": {"batch_shape": _plain(config["batch_shape"])}}
    config |= _hidden_arguments(thing, config)
    required = [name for name, parameter in _parameters(thing).items() if parameter.default is parameter.empty]
    defaults, kept_by_default = _make_defaults(thing, config, required)
    settings = {}
    for name, value in config.items():
        if name == "seed" and defaults.get(name) is not None and _parameters(thing)[name].default is None:
            continue  # drawn where none is given; start.py tells of one that is
        given = name in required or name in always or name not in defaults
        if name not in ("name", "dtype") and (given or not _same(defaults[name], value)):
            settings[name] = _describe_setting(thing, name, value)
    if not is_keras_own(kind):
        settings |= _describe_kept(thing, {*config}, kept_by_default)
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


def _parameters(thing) -> dict[str, inspect.Parameter]:
    """What the class of `thing` is made from, by name."""
    _, *every = inspect.signature(type(thing).__init__).parameters.values()
    return {p.name: p for p in every if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _make_defaults(thing, config: dict, required: list[str]) -> tuple[dict, dict]:
    """The configuration and the attributes of the same with every argument at its default but the required ones."""
    try:
        plain = type(thing)(**{name: getattr(thing, name, config.get(name)) for name in required})
        told = plain.get_config()
    except Exception:
        return {}, {}  # then every argument enters the description
    return told | _hidden_arguments(plain, told), vars(plain)


def _hidden_arguments(thing, config: dict) -> dict:
    """What a class takes and keeps, where its `get_config` does not tell of it: some of Keras's leave arguments out.

    Raises LabError for an argument that a user's class does not keep under its name either.
    """
    maker = next(kind for kind in type(thing).__mro__ if "__init__" in vars(kind))
    kept = {**getattr(thing, "_fn_kwargs", {}), **getattr(thing, "__dict__", {})}
    hidden = {}
    for name in _parameters(thing):
        if name in config or name in ("name", "dtype"):
            continue
        place = next((place for place in (name, f"_{name}") if place in kept), None)
        if place:
            hidden[name] = kept[place]
        elif not is_keras_own(maker) and maker is not object:
            if not hasattr(thing, name):
                raise LabError(
                    f"{type(thing).__name__} takes {name} and keeps no such attribute: tell it in get_config()"
                )
            hidden[name] = getattr(thing, name)
    return hidden


def _describe_kept(thing, told: set[str], plain: dict) -> dict:
    """Describe what else an object of a user's class keeps, where it is not what a `plain` one would keep, too.

    Raises LabError for what cannot be told, unless the class has a `get_config` of its own.
    """
    family = next((family for family in (keras.Model, *PLAINEST) if isinstance(thing, family)), None)
    of_keras = _keras_attributes(family) if family else set()
    tells = next((kind for kind in type(thing).__mro__ if "get_config" in vars(kind)), object)
    described = {}
    for name, value in vars(thing).items():
        if {name, name.removeprefix("_")} & told or name in of_keras or name.startswith("_self_"):
            continue
        # weights and random states are not settings: what they start with is told by start.py
        if isinstance(value, (keras.Variable, keras.random.SeedGenerator, keras.InputSpec)):
            continue
        if name in plain and _same(plain[name], value):
            continue
        try:
            described[name] = _describe_value(f"{type(thing).__name__}: {name}", value, value)
        except LabError:
            if is_keras_own(tells) and not name.startswith("_"):
                raise LabError(
                    f"{type(thing).__name__} keeps {name}, a {type(value).__name__}, by which it cannot be recognised "
                    "again: give it a get_config() method that tells of all that counts"
                ) from None
    return described


@cache
def _keras_attributes(family: type) -> set[str]:
    """The attributes that Keras itself gives to the objects of a family."""
    if family is keras.Model:
        inputs, dense = keras.Input((1,)), keras.layers.Dense(1)
        made = [keras.Model(inputs, dense(inputs)), keras.Sequential([inputs, dense])]
        for model in made:
            model.compile()
    else:
        made = [PLAINEST[family]()]
    return {name for one in made for name in vars(one)}


def _same(a, b) -> bool:
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return np.array_equal(a, b)


def _describe_setting(thing, name: str, value):
    """Describe one entry of a configuration."""
    raw = getattr(thing, f"_{name}", getattr(thing, name, None))  # optimizer.learning_rate would call a function
    return _describe_value(f"{type(thing).__name__}: {name}", raw, value)


def _describe_value(where: str, raw, value):
    """Describe a value, as a configuration tells it; what is only named there (a user's function) as it is, `raw`."""
    if inspect.isfunction(raw) and not _from_library(raw):
        return _describe_function(raw)
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
            raise LabError(f"{where} cannot be recognised again") from None
    if hasattr(value, "get_config"):
        return _describe(value)
    if inspect.isfunction(value):
        return _describe_function(value)
    if isinstance(value, dict):
        inner = raw if isinstance(raw, dict) else {}
        return {str(name): _describe_value(where, inner.get(name), one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        inner = raw if isinstance(raw, (list, tuple)) and len(raw) == len(value) else [None] * len(value)
        return [_describe_value(where, *pair) for pair in zip(inner, value, strict=True)]
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
    return _describe_measure(loss)


def _describe_measure(measure) -> dict:
    measure = getattr(measure, "python_function", measure)  # under tf.function
    return _describe_function(measure) if inspect.isfunction(measure) else _describe(measure)


def _describe_function(function) -> dict:
    return {"function": function.__name__} | ({} if _from_library(function) else {"source": _source(function)})


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
    """Whether a function, class or module is a library's, which its version in the record stands for."""
    if inspect.isfunction(thing):  # by where it was written: functools.wraps lends __module__
        wrapped = getattr(thing, "__wrapped__", None)
        return _home(thing) in LIBRARIES and (wrapped is None or _from_library(wrapped))
    home = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or "builtins"
    return home.split(".")[0] in LIBRARIES


def _home(function) -> str:
    return str(function.__globals__.get("__name__")).split(".")[0]


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
    values = [("__wrapped__", code.__wrapped__)] if hasattr(code, "__wrapped__") else []
    text = code.__qualname__  # of a library's decorator
    if _home(code) not in LIBRARIES:
        text = _text(code)
        around = {**code.__globals__, **inspect.getclosurevars(code).nonlocals}
        names = sorted(name for name in _free_names(code.__code__) if name in around)
        values = [(name, around[name]) for name in names] + _defaults(code) + values
    told = [text, [(name, _used(code, name, value, seen)) for name, value in values]]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _defaults(function) -> list[tuple]:
    """The defaults of a function's own parameters, those of what it wraps not."""
    code = function.__code__
    positional, given = code.co_varnames[: code.co_argcount], function.__defaults__ or ()
    return [
        *zip(positional[len(positional) - len(given) :], given, strict=True),
        *(function.__kwdefaults__ or {}).items(),
    ]


def _text(function) -> str:
    """The text of a function. Raises LabError where there is none, and where it is another than what runs."""
    code, file, wrong = function.__code__, function.__code__.co_filename, ""
    try:
        text = _lambda_text(code) if code.co_name == "<lambda>" else textwrap.dedent(inspect.getsource(code))
        if Path(file).is_file() and code not in _compile("".join(linecache.getlines(file)), file):
            wrong = f"{file} was changed since {function.__name__} was imported: restart the kernel"
    except (OSError, TypeError):
        wrong = f"{function.__name__} cannot be recognised again: it has no source"
    if wrong and code not in texts:
        raise LabError(wrong)
    texts[code] = texts[code] if wrong else text
    return texts[code]


@lru_cache(maxsize=8)
def _compile(text: str, file: str) -> set[types.CodeType]:
    """The code of every function in the text of a module."""
    try:
        module = compile(text, file, "exec", dont_inherit=True)
    except SyntaxError:
        return set()
    return {*_nested(module)}


def _nested(code: types.CodeType) -> list[types.CodeType]:
    """A piece of code, and the functions inside it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return [code, *(one for constant in inner for one in _nested(constant))]


def _free_names(code: types.CodeType) -> set[str]:
    """What a function takes from around it by name, the functions inside it included; attributes are none of it."""
    every = [i for inner in _nested(code) for i in dis.get_instructions(inner)]
    return {i.argval for i in every if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}.union(code.co_freevars)


def _lambda_text(code: types.CodeType) -> str:
    """The parameters and the body of a lambda alone: its line may hold others."""
    spans = [p for p in code.co_positions() if None not in p and p[2:] != (0, 0)]
    lines = linecache.getlines(code.co_filename)
    (first, start), (last, end) = min((p[0], p[2]) for p in spans), max((p[1], p[3]) for p in spans)
    text = "".join(lines[first - 1 : last]).encode()
    if not text:
        raise OSError
    tail = len(lines[last - 1].encode()) - end
    takes = ", ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
    return f"{takes}: {text[start : len(text) - tail].decode(errors='replace')}"


def _used(code, name: str, value, seen: tuple) -> str:
    """What stands for a value that a user's code refers to."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    value = getattr(value, "python_function", value)  # under tf.function
    if isinstance(value, types.ModuleType):
        return value.__name__ if _from_library(value) else _module_text(code, value, seen)
    if isinstance(value, types.MethodType):
        return repr([_used(code, name, part, seen) for part in (value.__self__, value.__func__)])
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__qualname__ if _from_library(value) else _source(value, seen)
    if hasattr(value, "get_config"):
        return repr(_describe(value))
    if isinstance(value, LIBRARY_FUNCTIONS) and inspect.ismodule(getattr(value, "__self__", None) or np):
        return value.__name__
    try:
        return repr(_plain(value))
    except LabError:
        raise LabError(
            f"{code.__name__} uses {name}, a {type(value).__name__}, by which it cannot be recognised again: "
            "use plain numbers, strings, lists or arrays"
        ) from None


def _module_text(code, module: types.ModuleType, seen: tuple) -> str:
    """What stands for a module: its text, and what a user's code takes from it, which may come from yet another."""
    try:
        text = inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__  # written in C: a library
    if not inspect.isfunction(code) or module in seen or _is_installed(module):
        return text
    names = {name for inner in _nested(code.__code__) for name in inner.co_names if hasattr(module, name)}
    return repr([text, [_used(code, name, getattr(module, name), (*seen, module)) for name in sorted(names)]])


def _is_installed(module: types.ModuleType) -> bool:
    return any(Path(module.__file__).is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib"))
