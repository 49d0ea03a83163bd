"""Describes a compiled Keras model in plain data: all that decides what training makes of it, and nothing else.

The names of layers, models and optimizers are left out, and so is every argument left at its default: a newer Keras
that adds an argument describes an old model as before. Learning rates are always there. Code that is not Keras's own
enters by its source, and by what its objects keep.
"""

import abc
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import inspect
import linecache
import re
import sys
import sysconfig
import textwrap
import types
from contextlib import suppress
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.train import flatten, is_keras_own, keras, one_line, tf

PLAIN = (bool, int, float, str, bytes, type(None))
LIBRARIES = {"keras", "tensorflow", "numpy", "builtins", "math", "mnist_lab"}
# what Keras itself keeps in a layer and no configuration tells for certain
COUNTING = {"_trainable", "_supports_masking", "activity_regularizer", "autocast"}
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
    replaced = [_describe_replaced(thing) for thing in (*flatten(model), model.optimizer)]
    compiled |= {"replaced": replaced} if any(replaced) else {}
    epsilon = keras.config.epsilon()
    compiled |= {"epsilon": epsilon} if epsilon != 1e-7 else {}
    if getattr(model.optimizer, "weight_decay", None):
        excluded = [not model.optimizer._use_weight_decay(weight) for weight in model.trainable_variables]
        compiled |= {"undecayed": excluded} if any(excluded) else {}
    return {"network": _describe(model), "input": _plain(model.input_shape), **compiled}


def _describe_replaced(thing) -> dict:
    """Describe the methods that were replaced on this very object."""
    methods = {n: v for n, v in vars(thing).items() if n != "loss" and inspect.isroutine(getattr(type(thing), n, None))}
    return {name: _describe_function(value) for name, value in methods.items() if _is_own_code(value)}


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
        if not is_keras_own(_definer(kind, "get_config")):
            raise LabError(
                f"{kind.__name__} cannot be recognised again: get_config() fails ({one_line(error)})"
            ) from None
        config = {}  # Keras's own fails for what it cannot save; then what the object keeps is told
    # a functional subclass; one with an __init__ of its own does not tell its layers
    if isinstance(thing, keras.Model) and hasattr(thing, "operations") and "layers" in config:
        return text | {"settings": _describe_kept(thing, set())} | _describe_network(thing)
    if isinstance(thing, keras.layers.InputLayer):
        return text | {"settings": {"batch_shape": _plain(config["batch_shape"])}}
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
    kept = {**getattr(thing, "_fn_kwargs", {}), **getattr(thing, "__dict__", {})}
    hidden = {}
    for name in _parameters(thing):
        if name in config or name in ("name", "dtype"):
            continue
        place = next((place for place in (name, f"_{name}") if place in kept), None)
        if place:
            hidden[name] = kept[place]
        elif not is_keras_own(maker) and maker is not object and hasattr(thing, name):
            hidden[name] = getattr(thing, name)
        elif not is_keras_own(maker) and maker is not object and _must_tell(thing):
            raise LabError(f"{type(thing).__name__} takes {name} and keeps no such attribute: tell it in get_config()")
    if hasattr(thing, "get_vocabulary"):  # of an adapted layer
        hidden["vocabulary"] = thing.get_vocabulary()
    return hidden


def _must_tell(thing) -> bool:
    """Whether what an object of a user's class keeps is not all of it: it tells by itself, or is made of layers."""
    return isinstance(thing, keras.Model) or not is_keras_own(_definer(type(thing), "get_config"))


def _definer(kind: type, method: str) -> type:
    """The class from which `kind` has a method."""
    return next(base for base in kind.__mro__ if method in vars(base))


def _describe_kept(thing, told: set[str]) -> dict:
    """Describe what else an object of a user's class keeps. Raises LabError for what cannot be told."""
    base = next(kind for kind in type(thing).__mro__ if is_keras_own(kind))
    plain, of_keras = _keras_attributes(base)
    tells = not is_keras_own(_definer(type(thing), "get_config"))
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
            described[name] = describe_value(f"{type(thing).__name__}: {name}", value)
            if isinstance(value, keras.layers.Layer) and not isinstance(thing, keras.layers.Layer):
                described[name] |= _describe_weights(value)
        except LabError:
            if not tells:
                raise LabError(
                    f"{type(thing).__name__} keeps {name}, a {type(value).__name__}, by which it cannot be recognised "
                    "again: give it a get_config() method that tells of all that counts"
                ) from None
    return described


def _describe_weights(layer) -> dict:
    """A digest of the weights of a layer that is no part of the network: that of a teacher in a loss."""
    values = b"".join(weight.numpy().tobytes() for weight in layer.weights)
    return {"weights": hashlib.sha256(values).hexdigest()} if values else {}


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
    if _is_own_code(raw):
        return _describe_function(raw)
    if _is_array(raw):
        return _plain(raw)
    if isinstance(value, dict) and {"class_name", "config"} <= set(value):
        if hasattr(raw, "get_config"):
            return _describe(raw)
        if value["class_name"] == "function":
            return {"function": value["config"]}
        try:
            made = keras.saving.deserialize_keras_object(value)
            return _describe(made) if hasattr(made, "get_config") else _plain(made)
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
        return [[str(name), _describe_value(where, inner.get(name), one)] for name, one in value.items()]
    if isinstance(value, (list, tuple)):
        inner = raw if isinstance(raw, (list, tuple)) and len(raw) == len(value) else [None] * len(value)
        return [_describe_value(where, *pair) for pair in zip(inner, value, strict=True)]
    if isinstance(value, PLAIN) or _is_array(value):
        return _plain(value)
    return _used("", where, value, ())


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
    return _describe_function(measure) if _is_own_code(measure) or inspect.isfunction(measure) else _describe(measure)


def _describe_function(function) -> dict:
    if not inspect.isfunction(function):
        return {"function": type(function).__name__, "source": _used("", "the function", function, ())}
    return {"function": function.__name__} | ({} if _from_library(function) else {"source": _source(function)})


def _is_own_code(thing) -> bool:
    """Whether something is a function but no library's, or is made of one: a method, a partial, under a decorator."""
    if isinstance(thing, types.MethodType):
        thing = thing.__func__
    if inspect.isfunction(thing):
        return not _from_library(thing)
    return isinstance(thing, functools.partial) or (
        callable(thing) and hasattr(thing, "__wrapped__") and not inspect.isclass(thing)
    )


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
    if _is_array(value):
        value = np.asarray(value)
        return value.tolist() if value.size <= 1000 else [value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    raise LabError(f"a setting of type {type(value).__name__} cannot be recognised again")


def _is_array(value) -> bool:
    tensor = isinstance(value, tf.Tensor) and hasattr(value, "numpy")  # not one of a graph
    return isinstance(value, (np.ndarray, np.generic)) or tensor


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
        told = [bases, [(name, _used(code.__name__, name, value, seen)) for name, value in _members(code)]]
        return hashlib.sha256(repr(told).encode()).hexdigest()
    values = [("__wrapped__", code.__wrapped__)] if hasattr(code, "__wrapped__") else []
    text, taken = code.__qualname__, set()  # of a library's decorator
    if _home(code) not in LIBRARIES:
        text = _text(code)
        around = {**code.__globals__, **inspect.getclosurevars(code).nonlocals}
        names = sorted(name for name in _free_names(code.__code__) if name in around)
        values = [(name, around[name]) for name in names] + _imports(code) + _defaults(code) + values
        taken = {name for inner in _nested(code.__code__) for name in inner.co_names}
    told = [text, [(name, _used(code.__name__, name, value, seen, taken)) for name, value in values]]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _members(kind: type) -> list[tuple]:
    """What stands in a class, by name: its functions, and what it keeps for all its objects."""
    if issubclass(kind, enum.Enum):
        return [(member.name, member.value) for member in kind]
    members = {n: v for n, v in vars(kind).items() if not n.startswith("__") or inspect.isfunction(v)}
    functions = {n: inspect.unwrap(v) for n, v in members.items() if inspect.isfunction(v)}
    made = {n for n, function in functions.items() if function.__code__.co_filename == "<string>"}
    return [(n, v) for n, v in sorted(members.items()) if n != "_abc_impl" and n not in made]  # made by dataclass


def _imports(function) -> list[tuple]:
    """The modules that a function imports while it runs, by name."""
    modules = []
    for code in _nested(function.__code__):
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for place, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                name = "." * steps[place - 2].argval + step.argval
                with suppress(Exception):  # it may never come to it
                    modules.append((name, importlib.import_module(name, function.__globals__.get("__package__"))))
    return modules


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
    code, file, wrong, text = function.__code__, function.__code__.co_filename, "", ""
    try:
        there = code
        if Path(file).is_file():
            linecache.checkcache(file)
            same = [c for bare, c in _compile("".join(linecache.getlines(file)), file) if bare == _bare(code)]
            there = min(same, key=lambda c: abs(c.co_firstlineno - code.co_firstlineno), default=None)
        if there is None:
            wrong = f"{file} was changed since {function.__name__} was imported: restart the kernel"
        else:
            text = _lambda_text(there) if code.co_name == "<lambda>" else textwrap.dedent(inspect.getsource(there))
    except (OSError, TypeError):
        wrong = (
            f"{function.__name__} cannot be recognised again: it has no source; define it in a file, or in a cell "
            "without a magic such as %%time"
        )
    if wrong and code not in texts:
        raise LabError(wrong)
    texts[code] = texts[code] if wrong else text
    return texts[code]


@lru_cache(maxsize=8)
def _compile(text: str, file: str) -> list[tuple]:
    """The code of every function in the text of a module, bare and as it is."""
    try:
        module = compile(text, file, "exec", dont_inherit=True)
    except SyntaxError:
        return []
    return [(_bare(code), code) for code in _nested(module)]


def _bare(code: types.CodeType) -> types.CodeType:
    """What a function does, wherever it stands: lines above it may have come, and autoreload moves it."""
    inner = tuple(_bare(one) if isinstance(one, types.CodeType) else one for one in code.co_consts)
    return code.replace(co_firstlineno=1, co_linetable=b"", co_qualname="", co_consts=inner)


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


def _used(user: str, name: str, value, seen: tuple, taken: set = frozenset()) -> str:
    """What stands for a value that a user's code refers to; `taken`, the names that it takes from modules."""
    if isinstance(value, (classmethod, staticmethod)):
        value = value.__func__
    if isinstance(value, (property, functools.cached_property)):
        value = value.fget if isinstance(value, property) else value.func
    value = getattr(value, "python_function", value)  # under tf.function

    def inside(*parts) -> str:
        return repr([_used(user, name, part, seen, taken) for part in parts])

    if isinstance(value, types.ModuleType):
        return value.__name__ if _from_library(value) else _module_text(value, seen, taken)
    if isinstance(value, types.MethodType):
        return inside(value.__self__, value.__func__)
    if isinstance(value, functools.partial):
        return inside(value.func, value.args, value.keywords)
    if inspect.isfunction(value) or inspect.isclass(value):
        return value.__qualname__ if _from_library(value) else _source(value, seen)
    if hasattr(value, "get_config"):
        return repr(_describe(value) | (_describe_weights(value) if isinstance(value, keras.layers.Layer) else {}))
    if isinstance(value, LIBRARY_FUNCTIONS) and inspect.ismodule(getattr(value, "__self__", None) or np):
        return value.__name__
    if isinstance(value, tf.DType):
        return value.name
    if _is_own_code(value):  # under a library's decorator
        return type(value).__name__ + inside(value.__wrapped__)
    if isinstance(value, enum.Enum):
        return inside(type(value), value.value)
    if isinstance(value, dict):
        return inside(*(part for pair in value.items() for part in pair))
    if isinstance(value, (list, tuple)):
        return inside(*value)
    if dataclasses.is_dataclass(value) or _is_plain_object(value):
        if any(value is one for one in seen):
            return "itself"
        return _used(user, name, [type(value), vars(value)], (*seen, value), taken)
    try:
        return repr(_plain(value))
    except LabError:
        told = f"{user} uses {name}" if user else name
        raise LabError(
            f"{told}, a {type(value).__name__}, by which it cannot be recognised again: use plain numbers, strings, "
            "lists or arrays"
        ) from None


def _is_plain_object(value) -> bool:
    """Whether all that an object is stands in its attributes, and its class is a user's."""
    modules = [sys.modules.get(kind.__module__) for kind in type(value).__mro__ if kind not in (object, abc.ABC)]
    return hasattr(value, "__dict__") and not any(
        module is None or _from_library(module) or _is_installed(module) for module in modules
    )


def _module_text(module: types.ModuleType, seen: tuple, taken: set) -> str:
    """What stands for a module: its text, and what a user's code takes from it, which may come from yet another."""
    try:
        text = inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__  # written in C: a library
    if module in seen or _is_installed(module):
        return text
    names = sorted(name for name in taken if hasattr(module, name))
    told = [_used(module.__name__, name, getattr(module, name), (*seen, module), taken) for name in names]
    return repr([text, told])


def _is_installed(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    if not file:
        return module.__name__ in sys.builtin_module_names
    return any(Path(file).is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib"))
