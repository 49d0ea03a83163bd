import re

import numpy as np
import pandas as pd
import pytest

from mnist_lab.errors import LabError
from mnist_lab.judging.judge import compare
from mnist_lab.judging.stats import adjust, difference, mean, median, ratio, share
from mnist_lab.studies.results import Results


def test_difference_agrees_with_a_calculation_by_hand():
    """Variances of 1, three seeds each: four degrees of freedom, t = 2.77645 from a table, standard error sqrt(2/3)."""
    estimate, half = difference([2, 3, 4], [5, 6, 7]), 2.77645 * (2 / 3) ** 0.5
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((-3, -3 - half, -3 + half), abs=1e-4)
    assert str(estimate) == repr(estimate) == "−3.00, 95 % CI [−5.27, −0.73]"
    assert estimate.seeds == difference([2, 3, 4, 5], [5, 6, 7]).seeds == 3


def test_intervals_agree_with_tables():
    # four seeds with standard deviation 1.29099; t = 3.18245 from a table
    estimate, half = mean(np.array([1.0, 2, 3, 4])), 3.18245 * 1.29099 / 2
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), abs=1e-4)
    # of 20 runs all: the lower end is 0.025 ** (1 / 20); of 20 none: the upper end mirrors it
    assert share(np.ones(20, bool)).low == pytest.approx(100 * 0.025 ** (1 / 20))
    assert share(np.zeros(20, bool)).high == pytest.approx(100 - 100 * 0.025 ** (1 / 20))
    assert share(np.array([True, False, False, False])).value == 25
    # of 20 sorted numbers, the 6th and the 15th; 15 of 20 heads or more by chance: 0.0207
    middle = median(np.arange(1.0, 21))
    assert (middle.value, middle.low, middle.high) == (10.5, 6, 15)
    assert middle.p_value(5.5, "greater") == pytest.approx(0.0207, abs=5e-5)
    times, logs = ratio(np.array([2.0, 4, 8]), np.array([1.0, 2, 4])), difference(np.log([2, 4, 8]), np.log([1, 2, 4]))
    assert times.value == pytest.approx(2)  # the geometric means are 4 and 2
    assert (times.low, times.high) == pytest.approx((np.exp(logs.low), np.exp(logs.high)))


def test_p_values_are_one_sided_and_measured_from_the_limit():
    estimate = mean(np.array([1.0, 2, 3, 4]))
    # at the end of a two-sided 95 % interval, half of the remaining 5 %
    ends = estimate.p_value(estimate.low, "greater"), estimate.p_value(estimate.high, "less")
    assert ends == pytest.approx((0.025, 0.025))
    assert share(np.ones(20, bool)).p_value(50, "greater") == pytest.approx(0.5**20)
    assert share(np.zeros(20, bool)).p_value(50, "less") == pytest.approx(0.5**20)
    # of the 20 ways to split six runs three by three, one is as far apart as this
    apart = difference(np.array([4.0, 5, 6]), np.array([1.0, 2, 3]))
    assert apart.p_value(0, "greater") == pytest.approx(1 / 20)
    assert apart.p_value(5, "less") < 0.25 < apart.p_value(0, "less")
    assert ratio(np.array([4.0, 8, 16]), np.array([1.0, 2, 4])).p_value(1, "greater") == pytest.approx(2 / 20)
    rng = np.random.default_rng(0)  # there are too many ways to split 40 runs, so some are drawn: the same each time
    many = difference(rng.normal(0.5, 1, 20), rng.normal(0, 1, 20))
    assert 0 < many.p_value(0, "greater") == many.p_value(0, "greater") < 0.5


def test_equal_runs_give_an_interval_without_width():
    ones, twos = np.ones(3), np.full(3, 2.0)
    for estimate in (difference(twos, ones), mean(ones)):
        assert (estimate.value, estimate.low, estimate.high) == (1, 1, 1)
    assert difference([1, 2, 3], ones).high == pytest.approx(1 + 4.30265 / 3**0.5)  # t with two degrees of freedom
    assert [mean(ones).p_value(limit, "greater") for limit in (0.5, 2)] == [0, 1]


def test_p_values_are_adjusted_as_by_holm():
    """The smallest times 3, the next times 2, the last times 1, and none below the one before."""
    np.testing.assert_allclose(adjust(np.array([0.03, 0.01, 0.025])), [0.05, 0.03, 0.05])


def test_numbers_that_cannot_be_compared_are_refused():
    for numbers in ([1.0], [1.0, np.inf]):
        message = f"difference: expected a finite number for each of at least two seeds (got {numbers})"
        with pytest.raises(LabError, match=re.escape(message)):
            difference(numbers, [1, 2])


def test_a_table_compares_all_values_with_one():
    runs = {v: [pd.DataFrame({"val_accuracy": [0, (v + seed) / 100]}) for seed in range(3)] for v in (2, 5, 9)}
    results = Results("s", "depth", runs)
    assert dict(compare(results, 5)["validation accuracy (pp), difference from depth 5"]) == {
        "2": "−3.00, 95 % CI [−5.27, −0.73]",
        "9": "+4.00, 95 % CI [+1.73, +6.27]",
    }
    with pytest.raises(LabError, match="compare: s: no depth 3; expected one of 2, 5, 9"):
        compare(results, 3)
