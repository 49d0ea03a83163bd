"""Describes a function in plain data: its text, and all that it reaches of its user's functions, classes and values.

Installed packages count by name. After joblib.Memory, which compares a function's own text, and redun.
"""

import ast
import dis
import functools
import hashlib
import importlib
import inspect
import linecache
import re
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path, PurePath
from types import CodeType, FunctionType, ModuleType, NoneType

import numpy as np

from mnist_lab.errors import LabError

PLAIN = (bool, int, float, complex, str, bytes, NoneType, range, slice, type(...), PurePath, re.Pattern, np.dtype)
INSTALLED = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]


def is_installed(module_name: str | None) -> bool:
    """Whether a module is Python's, an installed package's or this package's, rather than its user's own."""
    root = (module_name or "builtins").split(".")[0]
    file = getattr(sys.modules.get(root), "__file__", None)
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
            return value.__name__
        if hasattr(value, "to_dict"):  # a table of pandas
            return self.describe(value.to_dict(), name)
        if isinstance(value, functools.partial):
            return self.describe([value.func, value.args, value.keywords], name)
        if isinstance(value, (staticmethod, classmethod, property)):
            return self.describe(value.fget if isinstance(value, property) else value.__func__, name)
        if hasattr(value, "__wrapped__") and not isinstance(value, FunctionType):  # under functools.cache
            return [kind.__name__, self.describe(value.__wrapped__, name)]
        if not isinstance(getattr(value, "__self__", None), (ModuleType, NoneType)):  # a method
            return [self.describe(value.__self__, name), value.__name__]
        if callable(value) and hasattr(value, "__name__"):
            return self._describe_code(value)
        if {base.__module__.split(".")[0] for base in kind.__mro__} & {"keras", "tensorflow"}:
            raise LabError(f"{name} is a Keras object ({kind.__name__}) made outside build(); make it inside build()")
        if not is_installed(kind.__module__):
            return [self.describe(kind, name), self.describe(vars(value), name)]
        raise LabError(f"{name} is a {kind.__name__}, which has no text or value to compare; use numbers or strings")

    def _describe_code(self, value: Callable) -> object:
        if is_installed(getattr(value, "__module__", None)):
            return f"{value.__module__}.{value.__name__}"
        self.named.setdefault(value.__name__, []).append(value)
        self.modules |= {sys.modules.get(value.__module__)} - {sys.modules["__main__"], None}
        if not isinstance(value, type):
            return self._describe_function(value)
        members = {}
        for name, member in vars(value).items():
            generated = getattr(getattr(member, "__code__", None), "co_filename", "") == "<string>"  # by dataclasses
            internal = (name.startswith("__") and not callable(member)) or name == "_abc_impl"
            slot = inspect.isdatadescriptor(member) and not isinstance(member, property)
            if not (generated or internal or slot):
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
        for node in (node for node in nodes if isinstance(node, ast.Attribute)):
            owner = known.get(ast.unparse(node.value))
            if isinstance(owner, ModuleType) and not is_installed(owner.__name__):
                known[ast.unparse(node)] = getattr(owner, node.attr, None)
        reached = {name: self.describe(value, name) for name, value in sorted(known.items()) if value is not function}
        defaults = self.describe([function.__defaults__, function.__kwdefaults__], f"a default of {function.__name__}")
        return [[ast.unparse(tree) for tree in trees], reached, defaults]


def find_trees(function: FunctionType) -> list[ast.AST]:
    """The syntax tree of a function; of a lambda that cannot be told from others in its line, those of them all.

    Raises LabError where there is no text, and where a file has changed since the function was imported.
    """
    code, file = function.__code__, function.__code__.co_filename
    linecache.checkcache(file)
    tree, codes = _parse("".join(linecache.getlines(file, function.__globals__)))
    line = code.co_firstlineno
    if Path(file).is_file():
        same = [other.co_firstlineno for other in codes if _list_steps(other) == _list_steps(code)]
        if not same:
            raise LabError(f"{file} has changed since {function.__name__} was imported; restart the kernel")
        line = min(same, key=lambda other: abs(other - line))  # autoreload moves a function
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.Lambda))]
    named = [node for node in functions if getattr(node, "name", "<lambda>") == code.co_name]
    trees = [node for node in named if line in (node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ())))]
    if len(trees) > 1:  # several lambdas in a line
        first = min((span[0], span[2]) for span in code.co_positions() if None not in span and span[2:] != (0, 0))
        trees = [tree for tree in trees if (tree.body.lineno, tree.body.col_offset) == first] or trees
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


def _list_steps(code: CodeType) -> list[tuple]:
    """What code does, wherever in a file it is."""
    parts = [(part, [one for one in part.co_consts if not isinstance(one, CodeType)]) for part in list_codes(code)]
    return [(part.co_name, part.co_code, part.co_names, constants) for part, constants in parts]


def find_unused(function: Callable) -> list[str]:
    """The parameters of a function that its text never uses."""
    used = {n.id for tree in find_trees(inspect.unwrap(function)) for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return [name for name in inspect.signature(function).parameters if name not in used]
