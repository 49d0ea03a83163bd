"""What the runs show. `lab.verdicts(results)` calls this package, which has the name of its main function."""

import sys
import types
from importlib import import_module


class _CallablePackage(types.ModuleType):
    def __call__(self, *results):
        return import_module("mnist_lab.verdicts.conclusions").verdicts(*results)


sys.modules[__name__].__class__ = _CallablePackage
