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
    "keras": "train",
    "RandomWarp": "augment",
    "Study": "study",
    "Results": "results",
    "run": "study",
    "fit": "train",
    "read_results": "results",
    "sweep": "sweeps",
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
    "spread": "results",
    "compare": "judge",
    "difference": "judge",
    "verdicts": "conclusions",
    "read_verdicts": "conclusions",
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
