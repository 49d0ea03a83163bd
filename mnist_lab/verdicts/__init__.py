"""What the runs show. `lab.verdicts(results)` calls this package, which has the name of its main function."""

import sys
from importlib import import_module
from types import ModuleType

_call = {"__call__": lambda package, *results: import_module("mnist_lab.verdicts.conclusions").verdicts(*results)}
sys.modules[__name__].__class__ = type("CallablePackage", (ModuleType,), _call)
