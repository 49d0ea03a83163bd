"""Which recorded run belongs to this code?

1. `source`: a hash of the builder's text, of all that it reaches of its user's code and values, and of its settings. If
   a run of this source and seed is in the record, nothing is built.
2. `key` and `probe`: else the model is built. A recorded run is the same if Keras describes its model as this one
   (`key`), and its first two steps of training gave the same losses (`probe`).

Installed packages count by name. A file or the clock is not noticed. After joblib.Memory and redun.
"""

import ast
import dis
import functools
import hashlib
import importlib
import inspect
import json
import linecache
import re
import site
import sys
import sysconfig
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType, NoneType

import numpy as np

from mnist_lab.errors import LabError

VERSION = 1  # raised when a change to the trainer changes the bits of a run: no older run is then taken for a new one
DROPPED = {"module", "registered_name", "build_config", "build_input_shape"}  # from Keras's description
DROPPED |= {"jit_compile", "steps_per_execution"}  # which the trainer decides
PLAIN = (bool, int, float, complex, str, bytes, NoneType, range, slice, type(...), PurePath, re.Pattern, np.dtype)
INSTALLED = [*map(sysconfig.get_path, ("stdlib", "platstdlib")), *site.getsitepackages(), site.getusersitepackages()]


def is_installed(module_name: str | None) -> bool:
    """Whether a module is Python's, an installed package's or this package's, rather than its user's own."""
    root = (module_name or "builtins").split(".")[0]
    module = sys.modules.get(root)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    in_folder = file is None or any(Path(file).is_relative_to(folder) for folder in INSTALLED)
    return root == "mnist_lab" or (in_folder and root != "__main__")


class Code:
    """A function or class in plain data (`text`), without comments and layout.

    `named` holds the user's functions and classes that it reaches, by name, and `modules` their modules.
    Raises LabError for what cannot be described: an open file, a generator, a Keras object made outside the function.
    """

    def __init__(self, function: Callable):
        self.named, self.modules, self._outer = {}, set(), []
        self.text = self.describe(function, getattr(function, "__name__", "build"))

    def describe(self, value: object, name: str) -> object:
        """Plain data that stands for a value; `name` is what the code calls it."""
        if any(value is outer for outer in self._outer):
            return "recursion"
        self._outer.append(value)
        try:
            return self._describe(value.item() if isinstance(value, np.generic) else value, name)
        finally:
            self._outer.pop()

    def _describe(self, value: object, name: str) -> object:
        kind = type(value)
        if isinstance(value, PLAIN):
            return repr(value)
        if isinstance(value, dict):
            return [[self.describe(key, name), self.describe(entry, name)] for key, entry in value.items()]
        if isinstance(value, (list, tuple, set, frozenset)):
            entries = [self.describe(entry, name) for entry in value]
            return [kind.__name__, entries if isinstance(value, (list, tuple)) else sorted(map(str, entries))]
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return [value.dtype.str, value.shape, hashlib.sha256(np.ascontiguousarray(value)).hexdigest()]
        if isinstance(value, ModuleType):
            self.modules |= set() if is_installed(value.__name__) else {value}
            return value.__name__
        if isinstance(value, functools.partial):
            return self.describe([value.func, value.args, value.keywords], name)
        if isinstance(value, (staticmethod, classmethod, property)):
            return self.describe(value.fget if isinstance(value, property) else value.__func__, name)
        if callable(value) and hasattr(value, "__name__"):
            return self._describe_code(value)
        if {base.__module__.split(".")[0] for base in kind.__mro__} & {"keras", "tensorflow"}:
            raise LabError(f"{name} is a Keras object ({kind.__name__}) made outside build(); make it inside build()")
        if not is_installed(kind.__module__):
            return [self.describe(kind, name), self.describe(vars(value), name)]
        raise LabError(f"{name} is a {kind.__name__}, which cannot be compared between runs; use numbers or strings")

    def _describe_code(self, value: Callable) -> object:
        if is_installed(getattr(value, "__module__", None)):
            return f"{value.__module__}.{value.__name__}"
        self.named.setdefault(value.__name__, []).append(value)
        self.modules |= {sys.modules.get(value.__module__)} - {sys.modules["__main__"], None}
        if not isinstance(value, type):  # what functools.cache returns is no function
            return self._describe_function(value if isinstance(value, FunctionType) else inspect.unwrap(value))
        members = {}
        for name, member in vars(value).items():
            generated = getattr(getattr(member, "__code__", None), "co_filename", "") == "<string>"  # by dataclasses
            if not (generated or (name.startswith("__") and not callable(member)) or name == "_abc_impl"):
                members[name] = self.describe(member, name)
        return [value.__name__, [self.describe(base, base.__name__) for base in value.__bases__], members]

    def _describe_function(self, function: FunctionType) -> object:
        trees = find_trees(function)
        nodes = [node for tree in trees for node in ast.walk(tree)]
        steps = [step for code in list_codes(function.__code__) for step in dis.get_instructions(code)]
        taken = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        known = {name: function.__globals__[name] for name in taken if name in function.__globals__}
        known |= inspect.getclosurevars(function).nonlocals
        for node in (node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))):
            for alias in node.names:
                path = "." * getattr(node, "level", 0) + (getattr(node, "module", None) or alias.name)
                module = importlib.import_module(path, function.__globals__.get("__package__"))
                known[alias.asname or alias.name] = getattr(module, alias.name, module)
        for node in reversed([node for node in nodes if isinstance(node, ast.Attribute)]):  # a.b before a.b.c
            owner = known.get(ast.unparse(node.value))
            if isinstance(owner, ModuleType) and not is_installed(owner.__name__):
                known[ast.unparse(node)] = getattr(owner, node.attr, None)
        reached = {name: self.describe(value, name) for name, value in sorted(known.items()) if value is not function}
        defaults = self.describe([function.__defaults__, function.__kwdefaults__], f"a default of {function.__name__}")
        return [[ast.unparse(tree) for tree in trees], reached, defaults]


def find_trees(function: FunctionType) -> list[ast.AST]:
    """The syntax tree of a function; of a lambda, those of all lambdas in its line.

    Raises LabError where there is no text, and where a file has changed since the function was imported.
    """
    code, file = function.__code__, function.__code__.co_filename
    linecache.checkcache(file)
    tree, codes = _parse("".join(linecache.getlines(file, function.__globals__)))
    line = code.co_firstlineno
    if Path(file).is_file():
        same = [other.co_firstlineno for other in codes if code.replace(co_firstlineno=other.co_firstlineno) == other]
        if not same:
            raise LabError(f"{file} has changed since {function.__name__} was imported; restart the kernel")
        line = min(same, key=lambda other: abs(other - line))  # autoreload moves a function
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    named = [node for node in functions if getattr(node, "name", "<lambda>") == code.co_name]
    trees = [node for node in named if line in (node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ())))]
    if not trees:
        raise LabError(f"{function.__name__} has no source text; define it in a file, or in a cell without %%time")
    return trees


@functools.lru_cache(maxsize=32)
def _parse(text: str) -> tuple[ast.AST, list[CodeType]]:
    try:
        return ast.parse(text), list_codes(compile(text, "", "exec", dont_inherit=True))
    except SyntaxError:
        return ast.parse(""), []


def list_codes(code: CodeType) -> list[CodeType]:
    """A piece of code, and the functions and classes inside it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return [code, *(nested for constant in inner for nested in list_codes(constant))]


def find_unused(function: Callable) -> list[str]:
    """The parameters of a function that its text never uses."""
    used = {n.id for tree in find_trees(inspect.unwrap(function)) for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return [name for name in inspect.signature(function).parameters if name not in used]


def digest(*parts: object) -> str:
    """A hash of plain data, 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=int).encode()).hexdigest()[:16]


def keras_settings() -> list:
    """The settings of Keras as a whole that decide a run; their defaults where it has not been imported."""
    config = getattr(sys.modules.get("keras"), "config", None)
    return [config.dtype_policy().name, config.epsilon()] if config else ["float32", 1e-7]


def describe_run(code: Code, settings: dict, fit: dict) -> dict:
    """All that decides a run but its seed, in plain data; its digest is the source. `fit` is that of the training."""
    described = {name: code.describe(value, name) for name, value in settings.items()}
    run = {"settings": described, "training": fit, "code": code.text, "Keras": keras_settings(), "trainer": VERSION}
    return json.loads(json.dumps(run, default=int))  # as it is read from a file


def find_difference(new: dict, old: dict) -> tuple[int, str]:
    """In how many lines two descriptions differ, and the first such: "batch_size: 32 (recorded: 128)"."""
    texts = [json.dumps(one, indent=0).replace('"', "") for one in (new, old)]
    lines = [Counter(line.strip(" ,") for line in re.split(r"\\n|\n", text)) for text in texts]
    ours, theirs = ([*(lines[k] - lines[1 - k])] or ["no such line"] for k in (0, 1))
    name = f"{ours[0].partition(': ')[0]}: "
    recorded = next((line for line in theirs if line.startswith(name)), theirs[0])
    return len(ours) + len(theirs), f"{ours[0]} (recorded: {recorded.removeprefix(name)})"


def find_key(model, code: Code, source: str, fit: dict) -> str:
    """The key of a model's runs, of which only the seed is missing.

    Where Keras cannot describe the model, or it uses code that was made while it was built, the source stands for it.
    """
    from mnist_lab.keras import saving

    with warnings.catch_warnings(action="ignore"):  # about lambdas
        try:
            config = saving.serialize_keras_object(model)
        except Exception:  # a layer or a schedule without get_config raises errors of many kinds
            return digest("source", source, fit)
    places = {layer["name"]: place for place, layer in enumerate(config["config"].get("layers", [])) if "name" in layer}
    names = set()
    cleaned = _clean(config, places, names)
    texts = {name: [Code(one).text for one in code.named[name]] for name in names & set(code.named)}
    return digest(VERSION, cleaned, texts, source if names - set(code.named) else "", fit, keras_settings())


def _clean(config: object, places: dict[str, int], names: set[str], metrics: bool = False) -> object:
    """Keras's description without modules and empty entries. Only metrics keep a name; a layer is named by its place.

    Adds to `names` those of the functions and classes that are not Keras's own.
    """
    if isinstance(config, (list, tuple)):
        return [_clean(entry, places, names, metrics) for entry in config]
    if not isinstance(config, dict):
        return places.get(config, config) if isinstance(config, str) else config
    kind, module = config.get("class_name"), str(config.get("module", "keras"))
    if kind == "DTypePolicy":
        return config["config"]["name"]
    if kind == "function":
        names.add(config["config"])
    elif kind == "__lambda__" or (kind and not module.startswith(("keras", "mnist_lab", "builtins"))):
        names.add(kind)
    cleaned = {}
    for name, entry in config.items():
        if name == "name":  # Keras counts metrics of one name, from the start of the session
            entry = re.sub(r"_[0-9]+$", "", entry) if metrics else None
        entry = _clean(entry, places, names, metrics or "metrics" in name)
        if name not in DROPPED and not (entry is None or entry is False or entry in ([], {})):
            cleaned[name] = entry
    return cleaned


def is_close(probe: str, recorded: str) -> bool:
    """Whether two probes, as they are in the record, agree."""
    first, second = (np.array(text.split(), float) for text in (probe, recorded))
    tolerance = 1e-2 if "16" in keras_settings()[0] else 1e-3
    return len(first) == len(second) and np.allclose(first, second, tolerance, 1e-6, equal_nan=True)
