"""Tells what stands for code that is not Keras's own: a digest of its source, and of all that it uses."""

import abc
import collections
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
from pathlib import Path, PurePath

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.train import tf

PLAIN = (bool, int, float, str, bytes, type(None))
LIBRARIES = {"keras", "tensorflow", "numpy", "builtins", "math", "mnist_lab"}
LIBRARY_FUNCTIONS = (types.BuiltinFunctionType, np.ufunc, type(np.mean), type(np.random.default_rng))  # written in C
TOLD_BY_REPR = (range, slice, complex, type(...), PurePath, np.dtype, re.Pattern)
# the text of every function described, by its code: a worker, which has no notebook to read it in, is sent them all
texts: dict[types.CodeType, str] = {}


def is_own_code(thing) -> bool:
    """Whether something is a function but no library's, or is made of one: a method, a partial, under a decorator."""
    if isinstance(thing, types.MethodType):
        thing = thing.__func__
    if inspect.isfunction(thing):
        return not is_from_library(thing)
    wrapper = callable(thing) and "__wrapped__" in getattr(thing, "__dict__", {}) and not inspect.isclass(thing)
    return wrapper or isinstance(thing, functools.partial)


def has_config(thing) -> bool:
    """Whether something is described by `get_config()`, as Keras's objects are."""
    return hasattr(type(thing), "get_config")


def to_plain(value, other=None):
    """`value` in plain data; what is none goes to `other`."""
    if isinstance(value, dict):
        return {str(name): to_plain(inner, other) for name, inner in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=repr)
    if isinstance(value, (list, tuple)):
        return [to_plain(inner, other) for inner in value]
    if value is not None and other is not None:
        return other(value)
    if is_array(value) and not np.asarray(value).dtype.hasobject:
        value = np.asarray(value)
        if not value.shape:
            return value.item()
        values = value.tolist() if value.size <= 1000 else hashlib.sha256(value.tobytes()).hexdigest()
        return [str(value.dtype), value.shape, values]
    if isinstance(value, PLAIN):
        return value.hex() if isinstance(value, bytes) else value
    raise LabError(f"a setting of type {type(value).__name__} cannot be recognised again")


def is_array(value) -> bool:
    tensor = isinstance(value, tf.Tensor) and hasattr(value, "numpy")  # not one of a graph
    return isinstance(value, (np.ndarray, np.generic)) or tensor


def is_from_library(thing) -> bool:
    """Whether a function, class or module is a library's, which its version in the record stands for."""
    if inspect.isfunction(thing):
        wrapped = getattr(thing, "__wrapped__", None)
        return _is_library(_home(thing)) and (wrapped is None or is_from_library(wrapped))
    return _is_library(_home(thing))


def _home(thing, whole: bool = False) -> str:
    """The package, or the `whole` module, that a function, class or module is of."""
    if inspect.isfunction(thing):
        name = str(thing.__globals__.get("__name__"))  # where it was written: functools.wraps lends __module__
    elif inspect.ismodule(thing):
        name = thing.__name__
    else:
        name = getattr(thing, "__module__", None) or "builtins"
    return name if whole else name.split(".")[0]


def _is_library(name: str) -> bool:
    """Whether a module is a library's or Python's; a user's own may bear the name of one of Python's."""
    python = name in sys.stdlib_module_names and name in sys.modules and _is_installed(sys.modules[name])
    return name in LIBRARIES or python


def digest_source(code, seen: tuple = ()) -> str:
    """A digest of the source of a function or class, with the values it uses from around it."""
    if any(code is one for one in seen):
        return "itself"
    seen = (*seen, code)
    if inspect.isclass(code):
        kinds = [*code.__bases__, *([] if is_from_library(type(code)) else [type(code)])]
        text = [stand_for(code.__name__, kind.__name__, kind, seen) for kind in kinds]
        values, taken = _members(code), set()
    else:
        text, taken = code.__qualname__, set()  # of a library's decorator
        values = [(n, v) for n, v in vars(code).items() if n == "__wrapped__" or not n.startswith("_")]
        around = _closure(code)
        if not _is_library(_home(code)):
            text = _text(code)
            around = {**code.__globals__, **around}
            around = {name: around[name] for name in _free_names(code.__code__) if name in around}
            values += _imports(code) + _defaults(code)
            taken = {name for inner in _nested(code.__code__) for name in inner.co_names}
        if _home(code) not in LIBRARIES:
            values = sorted(around.items()) + values
    told = [text, [(name, stand_for(code.__name__, name, value, seen, taken)) for name, value in values]]
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _closure(function) -> dict:
    """What a function takes from the functions around it, as far as it is there."""
    values = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # nothing was put there
            values[name] = cell.cell_contents
    return values


def _members(kind: type) -> list[tuple]:
    """What stands in a class, by name: its functions, and what it keeps for all its objects."""
    if issubclass(kind, enum.Enum):
        methods = [(n, v) for n, v in vars(kind).items() if inspect.isfunction(v) and not is_from_library(v)]
        return [(member.name, member.value) for member in kind] + methods

    def counts(name, value) -> bool:
        if inspect.isfunction(value):  # neither dataclass's nor Python's own
            function = inspect.unwrap(value)
            made = function.__code__.co_filename == "<string>" or (name.startswith("__") and is_from_library(function))
            return not made
        field = inspect.ismemberdescriptor(value) or (issubclass(kind, tuple) and name in getattr(kind, "_fields", ()))
        return not (name.startswith("__") or name == "_abc_impl" or field)

    return sorted(member for member in vars(kind).items() if counts(*member))


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


@functools.lru_cache(maxsize=8)
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


def stand_for(user: str, name: str, value, seen: tuple, taken: set = frozenset()) -> str:
    """What stands for a value that a user's code refers to; `taken`, the names that it takes from modules."""
    if any(value is one for one in seen):
        return "itself"
    if isinstance(value, types.ModuleType):
        return value.__name__ if is_from_library(value) else _module_text(value, seen, taken)
    if inspect.isfunction(value) or inspect.isclass(value):
        module = sys.modules.get(_home(value, whole=True))
        if is_from_library(value):
            return value.__qualname__
        if _is_installed(module):
            return repr([value.__qualname__, _module_text(module, seen, taken)])
        return digest_source(value, seen)
    if isinstance(value, LIBRARY_FUNCTIONS) and inspect.ismodule(getattr(value, "__self__", None) or np):
        return value.__name__
    if has_config(value):
        from mnist_lab.describe import describe_outside  # which imports this module

        return repr(describe_outside(value))
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, TOLD_BY_REPR):
        return repr(value)
    parts = _find_parts(value)
    if parts is not None:
        return repr([stand_for(user, name, part, (*seen, value), taken) for part in parts])
    try:
        return repr(to_plain(value))
    except LabError:
        told = f"{user} uses {name}" if user else name
        raise LabError(
            f"{told}, a {type(value).__name__}, by which it cannot be recognised again: use plain numbers, strings, "
            "lists or arrays"
        ) from None


def _find_parts(value) -> list | None:
    """All that decides what a value does, if it is made of others; with its class, where that is a user's."""
    kind = type(value)
    own = [] if is_from_library(kind) or _is_installed(sys.modules.get(kind.__module__)) else [kind]
    if isinstance(value, (classmethod, staticmethod, types.MethodType)):
        return [getattr(value, "__self__", None), value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset]
    if isinstance(value, functools.cached_property):
        return [value.func]
    if isinstance(value, tf.types.experimental.PolymorphicFunction):
        return [value.python_function]
    if isinstance(value, (functools.partial, functools.partialmethod)):
        return [value.func, value.args, value.keywords]
    if is_own_code(value):  # under a library's decorator
        return [kind, value.__wrapped__]
    if isinstance(value, enum.Enum):
        return [*own, value.value]
    if isinstance(value, dict):
        return [*own, *(part for pair in value.items() for part in pair)]
    if isinstance(value, (list, tuple, collections.deque)):
        return [*own, *value]
    if isinstance(value, PLAIN) and own:
        return [*own, next(plain for plain in PLAIN if isinstance(value, plain))(value)]
    if dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace) or _is_plain_object(value):
        state = object.__getstate__(value)
        if isinstance(state, dict):
            cached = {n for n in state if isinstance(getattr(kind, n, None), functools.cached_property)}
            state = {name: kept for name, kept in state.items() if name not in cached}
        return [kind, state]
    return None


def _is_plain_object(value) -> bool:
    """Whether all that an object is stands in its attributes, and its class is a user's."""
    modules = [sys.modules.get(kind.__module__) for kind in type(value).__mro__ if kind not in (object, abc.ABC)]
    return not any(module is None or is_from_library(module) or _is_installed(module) for module in modules)


def _module_text(module: types.ModuleType, seen: tuple, taken: set) -> str:
    """What stands for a module: its text, and what a user's code takes from it, which may come from yet another."""
    try:
        text = inspect.getsource(module)
    except (OSError, TypeError):
        return module.__name__  # written in C: a library
    if any(module is one for one in seen) or _is_installed(module):
        return text
    names = sorted(name for name in taken if hasattr(module, name))
    told = [stand_for(module.__name__, name, getattr(module, name), (*seen, module), taken) for name in names]
    return repr([text, told])


def _is_installed(module: types.ModuleType | None) -> bool:
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if name == "__main__":  # a worker's is joblib's, and stands in for the notebook's
        return False
    if not file:
        return name in sys.builtin_module_names
    return any(Path(file).is_relative_to(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib"))
