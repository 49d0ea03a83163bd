"""The conclusions as claims: read from conclusions.toml, measured in the results of their studies, and judged."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_lab.errors import LabError
from mnist_lab.judging.judge import Claim, Conclusion, Verdicts, judge
from mnist_lab.judging.stats import check_seeds, difference, mean, median, ratio, share
from mnist_lab.studies.results import Results, in_percent, read_results


def verdicts(*results: Results) -> Verdicts:
    """The verdicts on all conclusions about these results. A second study that one needs is read from the record."""
    for item in results:
        if not isinstance(item, Results):
            raise LabError(f"verdicts: expected Results, as lab.run returns them (got {type(item).__name__})")
    given = {item.name: item for item in results}
    conclusions = [conclusion for conclusion in CONCLUSIONS if conclusion.studies[0] in given]
    if not conclusions:
        raise LabError(f"verdicts: no conclusion is about {', '.join(given)}; expected one of {', '.join(STUDIES)}")
    for conclusion in conclusions:
        given |= {name: read_results(name) for name in conclusion.studies if name not in given}
    return Verdicts(judge(conclusion, *(given[name] for name in conclusion.studies)) for conclusion in conclusions)


def read_verdicts() -> Verdicts:
    """The verdicts of the first record, each with that of its follow-up. Raises LabError if a study is missing."""
    found = {verdict.conclusion.id: verdict for verdict in verdicts(*map(read_results, STUDIES))}
    return Verdicts(replace(found[id], followup=found.get(f"{id}b")) for id in found if not id.endswith("b"))


def curves(results: Results, value: object, metric: str) -> pd.DataFrame:
    """A row for each seed, a column for each epoch. Values are compared as text, since a record holds them so."""
    runs = next((runs for label, runs in results.runs.items() if str(label) == str(value)), None)
    if runs is None:
        raise LabError(f"study {results.name}: no value {value}; its values are {', '.join(map(str, results.runs))}")
    (epochs,) = replace(results, runs={value: runs}).curves(metric).values()
    return pd.DataFrame(in_percent(metric, epochs), [run["seed"].iloc[0] for run in runs])


def accuracy(results: Results, value: object, metric: str = "val_accuracy") -> pd.Series:
    """At the last epoch, by seed. The runs of a list of values are pooled."""
    values = value if isinstance(value, list) else [value]
    runs = pd.concat([curves(results, each, metric).iloc[:, -1] for each in values])
    check_seeds(runs, f"study {results.name}, {metric} of {value}")
    return runs


def late_change(results: Results, value: object, metric: str = "val_accuracy") -> np.ndarray:
    """The mean of epochs 46 to 50 minus that of epochs 10 to 14 of the same run."""
    runs = curves(results, value, metric)
    change = runs.iloc[:, 45:50].mean(axis=1) - runs.iloc[:, 9:14].mean(axis=1)
    return check_seeds(change, f"study {results.name}, {metric}")


def paired(a: pd.Series, b: pd.Series, estimate: Callable, weight: float = 1):
    """Estimate from the differences per seed, of which those of `b` count by `weight`. Pooled runs are averaged."""
    differences = a.groupby(level=0).mean() - weight * b.groupby(level=0).mean()
    return estimate(check_seeds(differences, "differences per seed, which need the same seeds"))


MEASURES = {
    "accuracy": accuracy,
    # what Keras called accuracy in 2018: with binary cross-entropy it was the binary accuracy
    "accuracy_2018": lambda results, loss: accuracy(results, loss, f"val_{'binary_' * ('binary' in loss)}accuracy"),
    "at_chance": lambda results, value: accuracy(results, value) < 20,
    "gap": lambda results, value, metric="clean_accuracy": accuracy(results, value, metric) - accuracy(results, value),
    "late_change": late_change,
    "seconds": lambda results, value: check_seeds(curves(results, value, "seconds").median(axis=1), "seconds"),
}
ESTIMATES = {
    "ratio": ratio,
    "share": share,
    "paired_mean": partial(paired, estimate=mean),
    "paired_median": partial(paired, estimate=median),
    "paired_minus_half": partial(paired, estimate=mean, weight=0.5),
}


def make_claims(text, of, minus=None, measure="accuracy", metric=None, estimate=None, below=None, above=0, **claim):
    """A list of claims about each value in `of`, or each pair with a value in `minus`, which `text` holds in braces."""
    quantity = partial(MEASURES[measure], metric=metric) if metric else MEASURES[measure]
    limit, usual = above if below is None else below, mean if minus is None else difference

    def estimate_of(args: tuple, *results: Results):
        # a conclusion from two studies compares a value of the first with a value of the second
        measured = [quantity(study, value) for study, value in zip(results * 2, args, strict=False)]
        return ESTIMATES.get(estimate, usual)(*measured)

    pairs = product(of) if minus is None else product(of, minus)
    return [Claim(text.format(*args), partial(estimate_of, args), limit, below is None, **claim) for args in pairs]


_tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
for _table in _tables.values():
    for _name in {"claims", "as_read", "beside"} & set(_table):
        _table[_name] = [claim for each in _table[_name] for claim in make_claims(**each)]
    _table |= _tables.get(_table.pop("like", None), {}) | _table
CONCLUSIONS = [Conclusion(id, **table) for id, table in _tables.items()]
STUDIES = tuple(dict.fromkeys(study for conclusion in CONCLUSIONS for study in conclusion.studies))
