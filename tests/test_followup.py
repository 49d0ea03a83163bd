"""The rules of the follow-up, written a second time with other means, and held to the first on random runs."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, t

from mnist_lab.judging.conclusions import CONCLUSIONS
from mnist_lab.judging.judge import judge
from mnist_lab.studies.results import Results

RULES = {conclusion.id: conclusion for conclusion in CONCLUSIONS if conclusion.id.endswith("b")}
BINARY, CATEGORICAL = "binary_crossentropy", "categorical_crossentropy"
VALUES = {"depth": [1, 2, 3, 4, 5], "dropout": [0, 0.1, 0.2, 0.3, 0.4], "batch": [32, 64, 128], "kernel": [3, 9]}
VALUES |= {"loss": [BINARY, CATEGORICAL], "epochs": [50]}
NAMES = ["val_accuracy", "clean_accuracy", "accuracy", "val_binary_accuracy"]
CLAIMED = (1, 0.2, 0.3, 32, 64, 3, BINARY)  # which a conclusion says are better
EFFECTS = (-0.3, 0, 0, 0.3, 0.6), (0.03, 0.1, 0.3), (0.2, 1)
SEEDS, M = 11, 0.2


def by_mean(d):
    """The interval of the mean over the last axis, and p for a mean that is below, or above, a limit."""
    mean, error, freedom = d.mean(axis=-1), d.std(axis=-1, ddof=1) / d.shape[-1] ** 0.5, d.shape[-1] - 1
    half = t.ppf(0.975, freedom) * error
    return mean - half, mean + half, lambda limit, side: t.cdf(side * (mean - limit) / error, freedom)


def find_rise(curves):
    return curves[:, 45:].mean(axis=1) - curves[:, 9:14].mean(axis=1)


def by_median(d):
    k = next(k for k in range(len(d)) if binom.cdf(k, len(d), 0.5) > 0.025)
    low, high = np.sort(d)[[k - 1, -k]]
    return low, high, lambda limit, side: binom.cdf((side * d > side * limit).sum(), len(d), 0.5)


def decide(*claims, limit=0, four=False):
    """A verdict on claims that all lie above a limit, each a tuple of `by_mean` or `by_median`."""
    p_values = sorted(p(limit, 1) for _, _, p in claims)
    holm = np.maximum.accumulate([p * (len(claims) - number) for number, p in enumerate(p_values)])
    passed = [p for p, adjusted in zip(p_values, holm, strict=True) if adjusted <= 0.05]
    small = [limit - M < low and high < limit + M for low, high, _ in claims]
    if any(high < limit and p(limit, 1) in passed for _, high, p in claims):
        return "contradicted"
    if all(low > limit for low, _, _ in claims):
        return "reproduced, by less than matters" if four and any(small) else "reproduced"
    equal = all(claim[0] > limit or tiny for claim, tiny in zip(claims, small, strict=True))
    return "no difference that matters" if four and equal else "inconclusive"


def negative(estimate):
    low, high, p = estimate
    return -high, -low, lambda limit, side: p(-limit, -side)


def judge_again(id, runs):
    """`runs` maps each value to (validation, training in evaluation mode, training, binary), by seed and epoch."""
    val, clean, trained, binary = ({v: metrics[k][:, -1] for v, metrics in runs.items()} for k in range(4))
    gap = {v: clean[v] - val[v] for v in val}
    late = [find_rise(runs[50][k]) for k in (0, 1)] if 50 in runs else []
    as_read = "; an artefact of how it was read"
    if id == "dropout-1b":
        verdict = decide(by_mean(gap[0]), negative(by_mean(gap[0.2])))
        if by_mean(trained[0] - val[0])[0] <= 0 or by_mean(trained[0.2] - val[0.2])[1] >= 0 or verdict == "reproduced":
            return verdict
        return "artefact" if verdict == "inconclusive" else verdict + as_read
    if id == "dropout-3b":
        verdict, narrower = decide(by_mean(gap[0] / 2 - gap[0.2])), by_mean(gap[0] - gap[0.2])[0] > 0
        return "contradicted, but narrows it" if verdict == "contradicted" and narrower else verdict
    if id == "loss-1b":
        verdict = decide(by_mean(val[BINARY] - val[CATEGORICAL]), limit=M)
        read = by_mean(binary[BINARY] - val[CATEGORICAL])[0] > M
        return verdict + as_read if verdict == "contradicted" and read else verdict
    return {
        "depth-1b": lambda: decide(*(by_median(val[1] - val[v]) for v in (2, 3, 4, 5)), four=True),
        "depth-2b": lambda: decide(*(by_median(val[3] - val[v]) for v in (4, 5)), limit=-M),
        "dropout-2b": lambda: decide(*(by_mean((val[0.2] + val[0.3]) / 2 - val[v]) for v in (0, 0.1, 0.4)), four=True),
        "batch-1b": lambda: decide(*(by_mean(val[v] - val[128]) for v in (32, 64)), four=True),
        "kernel-1b": lambda: decide(by_mean(val[3] - val[9]), four=True),
        "epochs-1b": lambda: decide(by_mean(-late[0]), limit=-M),
        "epochs-3b": lambda: decide(by_mean(late[1] - 2 * M), by_mean(-late[0]), limit=-M),
    }[id]()


def draw_runs(rng, values):
    """Seeds differ by far more than values do; of five values, some runs learn nothing."""
    epochs, (bonus, noise, scale) = 50 if values == [50] else 1, (rng.choice(choices) for choices in EFFECTS)
    seeds, runs = rng.normal(80, 2, (SEEDS, 1)), {}
    for value in values:
        centres = scale * rng.choice([-0.3, -0.2, 0, 0.2, 0.3], (4, 1, 1)) + bonus * (value in CLAIMED)
        drift = rng.choice([0, 0.1, 0.3, 0.6], (4, 1, 1)) * (np.arange(epochs) >= 20)
        runs[value] = seeds + centres + drift + rng.normal(0, noise, (4, SEEDS, epochs))
        runs[value][1] += rng.choice([-0.3, 0.2, 0.6])
        runs[value][:, rng.random(SEEDS) < 0.05 * (len(values) == 5)] -= rng.choice([0, 60])
    return runs


@pytest.mark.parametrize("id", RULES)
def test_a_rule_decides_as_it_does_when_written_a_second_time(id):
    rng, found, study = np.random.default_rng(3), Counter(), RULES[id].studies[0]
    kinds = {"dropout-1b": 5, "dropout-3b": 4, "loss-1b": 4}.get(id, 5 if RULES[id].fourth_outcome else 3)
    while len(found) < kinds or found.total() < 8 * kinds:
        runs = draw_runs(rng, VALUES[study.removeprefix("followup_")])
        expected = judge_again(id, runs)
        if found[expected] == 12:  # others are rare
            continue
        tables = {}
        for value, metrics in runs.items():
            order = rng.permutation(SEEDS)  # runs are paired by seed, not by place
            rows = [pd.DataFrame(metrics[:, seed].T / 100, columns=NAMES) for seed in order]
            tables[value] = [run.assign(seed=seed, machine="x") for run, seed in zip(rows, order, strict=True)]
        verdict = judge(RULES[id], Results(study, "value", tables))
        assert verdict.verdict + verdict.addition == expected
        found[expected] += 1
    tables[value][0]["machine"] = "python 3.11, numpy 2.4, another"
    refused = judge(RULES[id], Results(study, "value", tables))
    assert refused.verdict == "cannot be judged"
    assert refused.estimate.endswith("ask for one kind of CPU, not for 2: another; x")
