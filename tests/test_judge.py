import numpy as np
import pandas as pd
import pytest

from mnist_lab.errors import LabError
from mnist_lab.judge import Estimate, compare, difference
from mnist_lab.results import Results


def test_welch_against_a_calculation_by_hand():
    """Variances of 1, three seeds a side: four degrees of freedom, tabled t 2.77645, standard error sqrt(2/3)."""
    told = difference([2, 3, 4], [5, 6, 7])
    assert told.value == -3
    assert told.high == pytest.approx(-3 + 2.77645 * (2 / 3) ** 0.5, abs=1e-4)
    assert told.low == pytest.approx(-3 - 2.77645 * (2 / 3) ** 0.5, abs=1e-4)
    assert str(told) == "-3.00 (95 % interval -5.27 to -0.73)"


def test_the_interval_holds_the_truth_in_95_of_100():
    rng = np.random.default_rng(0)
    held = [difference(rng.normal(1, 1, 5), rng.normal(0, 3, 20)) for _ in range(2000)]
    assert np.mean([told.low < 1 < told.high for told in held]) == pytest.approx(0.95, abs=0.015)


def test_ties_and_what_cannot_be_told():
    assert difference([1, 1], [1, 1]) == Estimate(0, 0, 0)
    with pytest.raises(LabError, match="two seeds or more"):
        difference([1], [1, 2])
    with pytest.raises(LabError, match="missing"):
        difference([1, np.nan], [1, 2])


def test_every_value_is_compared_with_one():
    runs = {
        value: [
            pd.DataFrame({"val_accuracy": [0.1, (value + seed) / 100], "val_loss": [2.0, 1.0]}) for seed in range(3)
        ]
        for value in (2, 5, 9)
    }
    table = compare(Results("s", "units", runs), 5)
    assert table.columns.tolist() == ["validation accuracy (points) less that of 5"]
    assert dict(table.iloc[:, 0]) == {
        "2": "-3.00 (95 % interval -5.27 to -0.73)", "9": "+4.00 (95 % interval +1.73 to +6.27)"
    }  # fmt: skip
    with pytest.raises(LabError, match="s: units 3 is not among 2, 5, 9"):
        compare(Results("s", "units", runs), 3)
