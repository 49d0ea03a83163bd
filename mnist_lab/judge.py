"""What runs that differ by chance can tell: estimates with their intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from mnist_lab.errors import LabError
from mnist_lab.results import TITLES, Results


@dataclass(frozen=True)
class Estimate:
    """A difference and its 95 % interval, in the unit of what was compared."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} (95 % interval {self.low:+.2f} to {self.high:+.2f})"


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """How much higher the mean of `a` is than that of `b`, one number a seed in each, with Welch's interval.

    Raises LabError for fewer than two seeds on a side, and for a number that is missing.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if min(a.size, b.size) < 2 or a.ndim != 1 or b.ndim != 1:
        raise LabError(f"difference: needs two seeds or more on each side, not shapes {a.shape} and {b.shape}")
    if np.isnan(a).any() or np.isnan(b).any():
        raise LabError("difference: a number is missing (nan)")
    value = float(a.mean() - b.mean())
    if a.var() == b.var() == 0:
        return Estimate(value, value, value)
    low, high = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    return Estimate(value, float(low), float(high))


def compare(results: Results, reference: object, metric: str = "val_accuracy") -> pd.DataFrame:
    """How much higher `metric` is at the last epoch with each value than with `reference`; accuracies in points.

    One row a value, as text with Welch's interval. Raises LabError where `reference` is none of the values.
    """
    last = {value: curves[:, -1] for value, curves in results.curves(metric).items()}
    if reference not in last:
        raise LabError(f"{results.name}: {results.vary} {reference!r} is not among {', '.join(map(str, last))}")
    scale = 100 if metric.endswith("accuracy") else 1
    told = {
        str(value): str(difference(scale * seeds, scale * last[reference]))
        for value, seeds in last.items()
        if value != reference
    }
    title = TITLES.get(metric, metric).replace("(%)", "(points)")
    return pd.DataFrame({f"{title} less that of {reference}": told}).rename_axis(results.vary)
