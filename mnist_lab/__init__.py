"""mnist_lab: the small workshop behind the notebooks.

Names load on first use, so that what needs no TensorFlow (the data, the record, the figures) starts without it.
`from mnist_lab import keras` is Keras itself, with TensorFlow's start-up lines kept off the screen.
"""

from importlib import import_module

_HOME = {
    "LabError": "errors",
    "Digits": "data",
    "Split": "data",
    "load_digits": "data",
    "RandomWarp": "layers",
    "Study": "studies.study",
    "Results": "studies.results",
    "run": "studies.study",
    "fit": "training.trainer",
    "read_results": "studies.results",
    "sweep": "studies.sweep",
    "plot_curves": "plots",
    "plot_digits": "plots",
    "plot_gallery": "plots",
    "plot_gap": "plots",
    "plot_history": "plots",
    "plot_seeds": "plots",
    "plot_table": "plots",
    "plot_verdicts": "plots",
    "save": "plots",
    "show": "plots",
    "spread": "studies.results",
    "compare": "verdicts.stats",
    "difference": "verdicts.stats",
    "verdicts": "verdicts.conclusions",
    "read_verdicts": "verdicts.conclusions",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'mnist_lab' has no attribute {name!r}")
    value = getattr(import_module(f"mnist_lab.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
