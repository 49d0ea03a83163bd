"""The small helper package behind the notebooks. Names load on first use, so that a replay needs no TensorFlow."""

from importlib import import_module

from mnist_lab.errors import delay_stop

_MODULES = {
    "errors": "LabError",
    "data": "Digits Split load_digits",
    "layers": "RandomWarp",
    "studies.study": "Study run",
    "studies.results": "Results read_results spread",
    "studies.sweep": "sweep",
    "judging.stats": "difference",
    "judging.judge": "compare",
    "judging.conclusions": "read_verdicts verdicts",
    "plots": "plot_curves plot_digits plot_gallery plot_gap plot_seeds plot_table plot_verdicts",
    "figures": "Answer save",
    "draw": "DigitPad center_digit",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'mnist_lab' has no attribute {name!r}")
    with delay_stop():
        return getattr(import_module(f"mnist_lab.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
