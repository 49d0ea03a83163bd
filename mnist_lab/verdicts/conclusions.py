"""The nineteen conclusions of 2018 as claims, by rules that were fixed before any run was recorded.

Accuracies are in percent at the last epoch, differences between them in percentage points (pp). Training accuracy is
measured in evaluation mode unless said.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd

from mnist_lab.errors import LabError
from mnist_lab.studies.results import Results, in_percent, read_results
from mnist_lab.verdicts.judge import MATTERS, Claim, Conclusion, Verdicts, judge
from mnist_lab.verdicts.stats import Estimate, check_seeds, difference, mean, ratio, share


def verdicts(*results: Results) -> Verdicts:
    """The verdicts on all conclusions about these results, each of one study.

    A second study that a conclusion needs is read from the record. Raises LabError if there is no conclusion.
    """
    for item in results:
        if not isinstance(item, Results):
            raise LabError(f"verdicts: expected Results, as lab.run returns, got {type(item).__name__}")
    given = {item.name: item for item in results}
    conclusions = [conclusion for conclusion in CONCLUSIONS if conclusion.studies[0] in given]
    if not conclusions:
        raise LabError(f"no 2018 conclusion to check in study {', '.join(given)}; expected one of {', '.join(STUDIES)}")
    return Verdicts(
        judge(conclusion, *(given[name] if name in given else read_results(name) for name in conclusion.studies))
        for conclusion in conclusions
    )


def read_verdicts() -> Verdicts:
    """The verdicts on all conclusions, from the record alone. Raises LabError if a study is missing there."""
    return verdicts(*map(read_results, STUDIES))


def curves(results: Results, value: object, metric: str) -> np.ndarray:
    """An array `(seeds, epochs)`. Values are compared as text, since a record holds them so."""
    by_value = {str(label): runs for label, runs in results.curves(metric).items()}
    if str(value) not in by_value:
        raise LabError(f"study {results.name}: no value {value}; its values are {', '.join(by_value)}")
    return in_percent(metric, by_value[str(value)])


def accuracy(results: Results, value: object, metric: str = "val_accuracy") -> np.ndarray:
    """At the last epoch. A tuple of values pools their runs."""
    values = value if isinstance(value, tuple) else (value,)
    runs = np.concatenate([curves(results, each, metric)[:, -1] for each in values])
    return check_seeds(runs, f"study {results.name}, {metric} of {value}")


def accuracy_2018(results: Results, loss: str) -> np.ndarray:
    """What Keras called accuracy in 2018: with binary cross-entropy it was the binary accuracy."""
    return accuracy(results, loss, "val_binary_accuracy" if loss == "binary_crossentropy" else "val_accuracy")


def at_chance(results: Results, value: object) -> np.ndarray:
    return accuracy(results, value) < 20


def gap(results: Results, value: object, training: str = "clean_accuracy") -> np.ndarray:
    return accuracy(results, value, training) - accuracy(results, value)


def change(results: Results, value: object, metric: str) -> np.ndarray:
    """The mean of epochs 46 to 50 minus that of epochs 10 to 14 of the same run."""
    runs = curves(results, value, metric)
    return check_seeds(runs[:, 45:50].mean(axis=1) - runs[:, 9:14].mean(axis=1), f"study {results.name}, {metric}")


def seconds(results: Results, value: object) -> np.ndarray:
    """The time of a typical epoch."""
    return check_seeds(np.median(curves(results, value, "seconds"), axis=1), f"study {results.name}, time of {value}")


def claims(text: str, measure: Callable, *values: Sequence, estimate: Callable | None = None, **claim) -> list[Claim]:
    """A claim about each value, or each pair from two lists, which `text` holds in braces: above 0 pp, unless said."""
    estimate = estimate or (difference if len(values) == 2 else mean)

    def estimate_of(args: tuple, *results: Results) -> Estimate:
        # a conclusion from two studies compares a value of the first with a value of the second
        return estimate(*(measure(study, value) for study, value in zip(results * 2, args, strict=False)))

    return [Claim(text.format(*args), partial(estimate_of, args), **claim) for args in product(*values)]


def time_ratio(text: str, values: Sequence, other: object, limit: float, above: bool = True) -> list[Claim]:
    """An epoch with each of `values` takes more than `limit` times as long as with `other`; or less, if not `above`."""
    unit = {"estimate": ratio, "unit": "ratio", "margin": limit - 1}
    return claims(f"time per epoch, {text}", seconds, values, [other], limit=limit, above=above, **unit)


def paired(
    text: str, measure: Callable, *values: Sequence, estimate: Callable = mean, weights=(1, -1), **claim
) -> list[Claim]:
    """As `claims`, about differences per seed: the weighted sum of two measures from the same seed."""

    def by_seed(results: Results, value: object) -> pd.Series:
        seeds = {str(label): [run["seed"].iloc[0] for run in runs] for label, runs in results.runs.items()}
        parts = value if isinstance(value, tuple) else (value,)
        return sum(pd.Series(measure(results, part), seeds[str(part)]) for part in parts) / len(parts)

    def estimate_of(args: tuple, results: Results) -> Estimate:
        sums = sum(weight * by_seed(results, value) for weight, value in zip(weights, args, strict=True))
        return estimate(check_seeds(sums, f"study {results.name}, differences per seed between {args}"))

    return [Claim(text.format(*args), partial(estimate_of, args), **claim) for args in product(*values)]


def late_change(name: str, metric: str, **claim) -> list[Claim]:
    return claims(f"{name}, epochs 46–50 − epochs 10–14", partial(change, metric=metric), [50], **claim)


def gap_turns(training: str) -> list[Claim]:
    """Training accuracy is above validation accuracy without dropout, and below it with dropout 0.2."""
    text, measure = f"{GAP}, dropout {{}}", partial(gap, training=training)
    return claims(text, measure, [0]) + claims(text, measure, [0.2], above=False)


def conclusion(id: str, studies: list[str], claims: list[Claim], **options) -> Conclusion:
    return Conclusion(id, TEXTS[id], studies, claims, **options)


TEXTS = {
    "depth-1": "one hidden layer is the best of 1 to 5",
    "depth-2": "beyond three layers, more bring nothing",
    "depth-3": "deep enough, a net stops learning and stays at chance",
    "depth-4": "layers cost much time",
    "width-1": "beyond 256 units nothing improves",
    "width-2": "beyond 256 units training takes longer",
    "epochs-1": "after a dozen epochs accuracy stops improving",
    "epochs-2": "nor does the loss fall any more",
    "epochs-3": "after a dozen epochs it overfits",
    "dropout-1": "without dropout training is above validation; with it, below",
    "dropout-2": "0.2 and 0.3 are the best rates",
    "dropout-3": "dropout prevents overfitting",
    "mlp-1": "one layer of 256 with dropout is already decent: 97 % after 8 epochs",
    "kernel-1": "kernels 3, 5 and 7 are best",
    "batch-1": "batches of 32 and 64 are best",
    "batch-2": "and they still train fast",
    "loss-1": "binary cross-entropy is much better than every other loss",
    "cnn-1": "the CNN reaches very high accuracy: 99 % and a point above the MLP",
    "augment-1": "augmentation prevents overfitting",
}
NO_BETTER = {"limit": MATTERS, "above": False}
GAP = "training (evaluation mode) − validation accuracy"
BINARY = ["binary_crossentropy"]
LOSSES = ["categorical_crossentropy", "mean_squared_error", "mean_absolute_error", "categorical_hinge", "poisson"]
AT_CHANCE = "share of runs below 20 % accuracy at depth {}"
CONCLUSIONS = (
    conclusion("depth-1", ["mlp_depth"], claims("depth {} − depth {}", accuracy, [1], [2, 3, 4, 5])),
    conclusion("depth-2", ["mlp_depth"], claims("depth {} − depth {}", accuracy, [4, 5], [3], **NO_BETTER)),
    conclusion(
        "depth-3",
        ["mlp_depth"],
        claims(AT_CHANCE, at_chance, [1, 2, 3, 4, 5, 7, 10], estimate=share, limit=50, unit="%", margin=50),
        require_all=False,
    ),
    conclusion("depth-4", ["mlp_depth_time"], time_ratio("depth {} / depth {}", [5], 1, limit=1.5)),
    conclusion("width-1", ["mlp_width"], claims("{} − {} units", accuracy, [512, 1024, 2048], [256], **NO_BETTER)),
    conclusion("width-2", ["mlp_width_time"], time_ratio("{} / {} units", [512, 1024, 2048], 256, limit=1.1)),
    conclusion("epochs-1", ["mlp_epochs"], late_change("validation accuracy", "val_accuracy", **NO_BETTER)),
    conclusion(
        "epochs-2", ["mlp_epochs"], late_change("validation loss", "val_loss", limit=-0.01, unit="loss", margin=0.01)
    ),
    conclusion(
        "epochs-3",
        ["mlp_epochs"],
        late_change("training accuracy (evaluation mode)", "clean_accuracy", limit=MATTERS)
        + late_change("validation accuracy", "val_accuracy", **NO_BETTER),
    ),
    conclusion("dropout-1", ["mlp_dropout"], gap_turns("clean_accuracy"), as_read=gap_turns("accuracy")),
    conclusion(
        "dropout-2",
        ["mlp_dropout"],
        claims("mean of dropout 0.2 and 0.3 − dropout {1}", accuracy, [(0.2, 0.3)], [0, 0.1, 0.4]),
    ),
    conclusion("dropout-3", ["mlp_dropout"], claims(GAP + ", dropout {} − dropout {}", gap, [0], [0.2], limit=MATTERS)),
    conclusion(
        "mlp-1", ["mlp_dropout"], claims("validation accuracy at dropout {}", accuracy, [0.2], limit=97, unit="%")
    ),
    conclusion("kernel-1", ["cnn_kernel"], claims("kernel {} − kernel {}", accuracy, [3, 5, 7], [9, 11, 13])),
    conclusion("batch-1", ["cnn_batch"], claims("batch {} − batch {}", accuracy, [32, 64], [128, 256, 512, 1024])),
    conclusion("batch-2", ["cnn_batch_time"], time_ratio("batch {} / batch {}", [64], 1024, limit=1.5, above=False)),
    conclusion(
        "loss-1",
        ["cnn_loss"],
        claims("{} − {}", accuracy, BINARY, LOSSES, limit=MATTERS),
        as_read=claims("{} − {}", accuracy_2018, BINARY, LOSSES, limit=MATTERS),
    ),
    conclusion(
        "cnn-1",
        ["cnn_epochs", "mlp_dropout"],
        claims("validation accuracy at epoch {}", accuracy, [12], limit=99, unit="%")
        + claims("CNN − MLP", accuracy, [12], [0.2], limit=1),
    ),
    conclusion(
        "augment-1", ["augmentation"], claims(GAP + ", {} − {} augmentation", gap, ["without"], ["with"], limit=MATTERS)
    ),
)
STUDIES = tuple(dict.fromkeys(study for conclusion in CONCLUSIONS for study in conclusion.studies))
