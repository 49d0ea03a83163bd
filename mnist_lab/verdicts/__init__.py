"""What the runs can tell. `lab.verdicts(results)` calls this package, which has the name of its main function."""

import sys
import types


class _CallablePackage(types.ModuleType):
    def __call__(self, *results):
        from mnist_lab.verdicts.conclusions import verdicts

        return verdicts(*results)


sys.modules[__name__].__class__ = _CallablePackage
