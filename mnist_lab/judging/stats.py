"""Estimates from runs that differ by their seed only, with 95 % confidence intervals and one-sided p-values."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import scipy  # scipy.stats takes a second to import, so it is left to load on first use

from mnist_lab.errors import LabError

warnings.filterwarnings("ignore", "Precision loss")  # about a group of equal numbers, for which it is right


@dataclass(frozen=True, repr=False)
class Estimate:
    """An estimate and its 95 % confidence interval. `p_value(limit, side)` tests one side: "greater" or "less"."""

    value: float
    low: float
    high: float
    seeds: int  # runs per setting
    p_value: Callable[[float, str], float] = field(compare=False)

    def __repr__(self) -> str:
        return self.format("+.2f")

    def format(self, number: str, unit: str = "") -> str:
        """As text: `+5.45 pp, 95 % CI [−3.52, +14.42]` for the number format "+.2f" and the unit " pp"."""
        value, low, high = (f"{x:{number}}".replace("-", "−") for x in (self.value, self.low, self.high))
        return f"{value}{unit}, 95 % CI [{low}, {high}]"


def _from_test(value: float, seeds: int, test: Callable) -> Estimate:
    """An estimate from `test(limit, side)`, one of scipy's."""
    interval = test(0.0, "two-sided").confidence_interval()
    return Estimate(float(value), *interval, seeds, lambda limit, side: test(limit, side).pvalue)


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Estimate mean(a) − mean(b) for two unpaired groups of runs, one number per seed: Welch's t interval.

    The p-value is that of a permutation test. Raises LabError for fewer than two finite numbers in a group.
    """
    a, b = check_seeds(a, "difference"), check_seeds(b, "difference")

    def test(limit, side):
        if side == "two-sided":
            return scipy.stats.ttest_ind(a, b, equal_var=False)
        groups, statistic = (a - limit, b), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis)
        return scipy.stats.permutation_test(groups, statistic, alternative=side, rng=0)

    return _from_test(a.mean() - b.mean(), min(len(a), len(b)), test)


def mean(values: np.ndarray) -> Estimate:
    """Estimate the mean of one number per seed: one-sample t interval and test."""
    test = partial(scipy.stats.ttest_1samp, values)
    return _from_test(np.mean(values), len(values), lambda limit, side: test(limit, alternative=side))


def median(values: np.ndarray) -> Estimate:
    """Estimate the median of one number per seed: order-statistic interval of at least 95 %, and sign test."""
    test = partial(scipy.stats.quantile_test, values)
    return _from_test(np.median(values), len(values), lambda limit, side: test(q=limit, alternative=side))


def ratio(a: np.ndarray, b: np.ndarray) -> Estimate:
    """Estimate the ratio of the geometric means of two unpaired groups: `difference` of the logarithms."""
    logs = difference(np.log(a), np.log(b))
    value, low, high = np.exp([logs.value, logs.low, logs.high])
    return Estimate(value, low, high, logs.seeds, lambda limit, side: logs.p_value(np.log(limit), side))


def share(hits: np.ndarray) -> Estimate:
    """Estimate the share of runs, in percent, in which a condition is true: Clopper-Pearson interval, binomial test."""
    count, runs = int(hits.sum()), len(hits)
    test = partial(scipy.stats.binomtest, count, runs)
    percent = 100 * np.array([count / runs, *test().proportion_ci(method="exact")])
    return Estimate(*percent, runs, lambda limit, side: test(p=limit / 100, alternative=side).pvalue)


def adjust(p_values: np.ndarray) -> np.ndarray:
    """P-values adjusted for several comparisons (Holm 1979)."""
    order = np.argsort(p_values)
    return np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))[np.argsort(order)]


def check_seeds(values: np.ndarray, where: str) -> np.ndarray:
    """`values` as floats. Raises LabError unless it holds one finite number per seed, for two seeds or more."""
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise LabError(f"{where}: expected a finite number for each of at least two seeds (got {values.tolist()})")
    return values
