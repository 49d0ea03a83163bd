"""The nineteen conclusions of 2018 and the rules that judge them, fixed before any run was recorded.

Accuracy is that of validation at the last epoch, in percent; `clean training` is the same on training images in
inference mode. A claim is written as a call whose name says what is claimed.
"""

import numpy as np

from mnist_lab.errors import LabError
from mnist_lab.judge import Claim, Conclusion, Difference, Mean, Ratio, Share, Verdicts, check_seeds, judge
from mnist_lab.results import TITLES, Results, in_percent, read_results

MATTERS = 0.2  # points, twenty images in ten thousand: the smallest difference that matters


def verdicts(*results: Results) -> Verdicts:
    """The verdicts on every conclusion about these results, each of a study.

    Where a conclusion compares with a second study, this one is read from the record if it is not among them.
    Raises LabError where there is no conclusion, and where a value or a second seed is missing.
    """
    for one in results:
        if not isinstance(one, Results):
            raise LabError(f"verdicts takes what lab.run returns, not a {type(one).__name__}")
    named = {one.name: one for one in results}
    told = [conclusion for conclusion in CONCLUSIONS if conclusion.studies[0] in named]
    if not told:
        raise LabError(f"no conclusion is about {' and '.join(named)}; there are some about {', '.join(STUDIES)}")
    return Verdicts(
        judge(conclusion, *(named[name] if name in named else read_results(name) for name in conclusion.studies))
        for conclusion in told
    )


def read_verdicts() -> Verdicts:
    """The verdicts on every conclusion, from the record alone. Raises LabError where a study is missing there."""
    return verdicts(*map(read_results, STUDIES))


# What is measured in one study.


def runs(results: Results, value: object, metric: str) -> np.ndarray:
    """The curves `(seeds, epochs)` of one value, accuracies in percent. Raises LabError where it is missing."""
    curves = {str(label): seeds for label, seeds in results.curves(metric).items()}
    if str(value) not in curves:
        raise LabError(f"study {results.name} has no value {value}, but {', '.join(curves)}")
    return in_percent(metric, curves[str(value)])


def last(results: Results, value: object, metric: str = "val_accuracy") -> np.ndarray:
    return check_seeds(runs(results, value, metric)[:, -1], f"study {results.name}, {metric} of {value}")


def gap(results: Results, value: object, training: str = "clean_accuracy") -> np.ndarray:
    """Training less validation accuracy."""
    return last(results, value, training) - last(results, value)


def seconds(results: Results, value: object) -> np.ndarray:
    """Each run's typical epoch."""
    return check_seeds(np.median(runs(results, value, "seconds"), axis=1), f"study {results.name}, seconds of {value}")


def rise(results: Results, metric: str) -> np.ndarray:
    """Epochs 46 to 50 less epochs 10 to 14 of the same run."""
    curves = runs(results, 50, metric)
    return check_seeds(curves[:, 45:50].mean(axis=1) - curves[:, 9:14].mean(axis=1), f"study {results.name}, {metric}")


# What is claimed.


def beats(a: object, b: object, by: float = 0.0, metric: str = "val_accuracy") -> Claim:
    """That `a` is more than `by` points better than `b`; `metric` is by what the accuracy of `a` is read."""
    return Claim(f"{a} less {b}", lambda r: Difference(last(r, a, metric), last(r, b)), True, by, "points", MATTERS)


def both_beat(a: object, b: object, other: object) -> Claim:
    def measure(r):
        return Difference(np.concatenate([last(r, a), last(r, b)]), last(r, other))

    return Claim(f"mean of {a} and {b} less {other}", measure, True, 0.0, "points", MATTERS)


def is_no_better(a: object, b: object) -> Claim:
    return Claim(f"{a} less {b}", lambda r: Difference(last(r, a), last(r, b)), False, MATTERS, "points", MATTERS)


def exceeds(setting: str, value: object, percent: float) -> Claim:
    return Claim(f"accuracy at {setting} {value}", lambda r, *_: Mean(last(r, value)), True, percent, "%", MATTERS)


def takes(a: object, b: object, times: float, over: bool = True) -> Claim:
    """That an epoch with `a` takes over (or under) so many times as long as one with `b`."""
    text = f"an epoch at {a} against one at {b}"
    return Claim(text, lambda r: Ratio(seconds(r, a), seconds(r, b)), over, times, "times", times - 1)


def is_stuck(depth: int) -> Claim:
    text = f"runs under 20 % at depth {depth}"
    return Claim(text, lambda r: Share(last(r, depth) < 20), True, 0.5, "of the runs", 0.5)


def lies_above_validation(value: object, over: bool = True, training: str = "clean_accuracy") -> Claim:
    text = f"{TITLES[training].split(' (')[0]} less validation at {value}"
    return Claim(text, lambda r: Mean(gap(r, value, training)), over, 0.0, "points", MATTERS)


def widens_gap(a: object, b: object) -> Claim:
    """That clean training lies further above validation with `a` than with `b`, by more than matters."""
    text = f"clean training less validation: {a} less {b}"
    return Claim(text, lambda r: Difference(gap(r, a), gap(r, b)), True, MATTERS, "points", MATTERS)


def rises(metric: str, over: bool, limit: float, unit: str = "points", margin: float = MATTERS) -> Claim:
    text = f"{TITLES[metric].split(' (')[0]}, epochs 46-50 less 10-14"
    return Claim(text, lambda r: Mean(rise(r, metric)), over, limit, unit, margin)


def beats_the_mlp(value: object, mlp: object, by: float) -> Claim:
    def measure(cnn, mlps):
        return Difference(last(cnn, value), last(mlps, mlp))

    return Claim("CNN less MLP", measure, True, by, "points", MATTERS)


LOSSES = ("categorical_crossentropy", "mean_squared_error", "mean_absolute_error", "categorical_hinge", "poisson")

CONCLUSIONS = (
    Conclusion(
        "depth-1",
        "one hidden layer is the best of 1 to 5",
        ("mlp_depth",),
        tuple(beats(1, depth) for depth in (2, 3, 4, 5)),
    ),
    Conclusion(
        "depth-2",
        "beyond three layers, more bring nothing",
        ("mlp_depth",),
        tuple(is_no_better(depth, 3) for depth in (4, 5)),
    ),
    Conclusion(
        "depth-3",
        "deep enough, a net stops learning and stays at chance",
        ("mlp_depth",),
        tuple(is_stuck(depth) for depth in (1, 2, 3, 4, 5, 7, 10)),
        every=False,
    ),
    Conclusion("depth-4", "layers cost much time", ("mlp_depth_time",), (takes(5, 1, times=1.5),)),
    Conclusion(
        "width-1",
        "beyond 256 units nothing improves",
        ("mlp_width",),
        tuple(is_no_better(units, 256) for units in (512, 1024, 2048)),
    ),
    Conclusion(
        "width-2",
        "beyond 256 units training takes longer",
        ("mlp_width_time",),
        tuple(takes(units, 256, times=1.1) for units in (512, 1024, 2048)),
    ),
    Conclusion(
        "epochs-1",
        "after a dozen epochs accuracy stops improving",
        ("mlp_epochs",),
        (rises("val_accuracy", False, MATTERS),),
    ),
    Conclusion(
        "epochs-2",
        "nor does the loss fall any more",
        ("mlp_epochs",),
        (rises("val_loss", True, -0.01, "of loss", 0.01),),
    ),
    Conclusion(
        "epochs-3",
        "after a dozen epochs it overfits",
        ("mlp_epochs",),
        (rises("clean_accuracy", True, MATTERS), rises("val_accuracy", False, MATTERS)),
    ),
    Conclusion(
        "dropout-1",
        "without dropout training is above validation; with it, below",
        ("mlp_dropout",),
        (lies_above_validation(0), lies_above_validation(0.2, over=False)),
        as_read=tuple(lies_above_validation(rate, rate == 0, "accuracy") for rate in (0, 0.2)),
    ),
    Conclusion(
        "dropout-2",
        "0.2 and 0.3 are the best rates",
        ("mlp_dropout",),
        tuple(both_beat(0.2, 0.3, other) for other in (0, 0.1, 0.4)),
    ),
    Conclusion("dropout-3", "dropout prevents overfitting", ("mlp_dropout",), (widens_gap(0, 0.2),)),
    Conclusion(
        "mlp-1",
        "one layer of 256 with dropout is already decent: 97 % after 8 epochs",
        ("mlp_dropout",),
        (exceeds("dropout", 0.2, percent=97),),
    ),
    Conclusion(
        "kernel-1",
        "kernels 3, 5 and 7 are best",
        ("cnn_kernel",),
        tuple(beats(small, large) for small in (3, 5, 7) for large in (9, 11, 13)),
    ),
    Conclusion(
        "batch-1",
        "batches of 32 and 64 are best",
        ("cnn_batch",),
        tuple(beats(small, large) for small in (32, 64) for large in (128, 256, 512, 1024)),
    ),
    Conclusion("batch-2", "and they still train fast", ("cnn_batch_time",), (takes(64, 1024, times=1.5, over=False),)),
    Conclusion(
        "loss-1",
        "binary cross-entropy is much better than every other loss",
        ("cnn_loss",),
        tuple(beats("binary_crossentropy", other, by=MATTERS) for other in LOSSES),
        as_read=tuple(beats("binary_crossentropy", other, MATTERS, "val_binary_accuracy") for other in LOSSES),
    ),
    Conclusion(
        "cnn-1",
        "the CNN reaches very high accuracy: 99 % and a point above the MLP",
        ("cnn_epochs", "mlp_dropout"),
        (exceeds("epoch", 12, percent=99), beats_the_mlp(12, 0.2, by=1.0)),
    ),
    Conclusion(
        "augment-1",
        "augmentation prevents overfitting",
        ("augmentation",),
        (widens_gap("without", "with"),),
    ),
)
STUDIES = tuple(dict.fromkeys(study for conclusion in CONCLUSIONS for study in conclusion.studies))
