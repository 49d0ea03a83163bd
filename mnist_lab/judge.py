"""What runs that differ by chance can tell: estimates with their intervals, and verdicts on conclusions.

A conclusion is a list of claims, each that a quantity lies over or under a limit. It is *reproduced* when every claim
holds by its 95 % interval, and *contradicted* when for some claim the opposite holds: by its interval, and after Holm's
correction for having looked at all of them (at 5 %). Else it is *inconclusive*. It is an *artefact* when it is not
reproduced, but would be with the figure that was read at the time. The conclusions stand in conclusions.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import pandas as pd
from scipy import stats

from mnist_lab.errors import LabError
from mnist_lab.results import TITLES, Results, in_percent

LEVEL = 0.05
TAIL = LEVEL / 2  # on either side of an interval
MOST_SEEDS = 10_000  # that are looked through for how many would tell
FORMATS = {"points": "+.2f", "of loss": "+.4f", "%": ".2f", "times": ".2f", "of the runs": ".2f"}  # by unit


@dataclass(frozen=True)
class Estimate:
    """An estimate and its 95 % interval, in the unit of what was measured."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.format("+.2f")

    def format(self, number: str) -> str:
        """The estimate as text, its numbers in a format such as "+.2f"."""
        value, low, high = (f"{x:{number}}" for x in (self.value, self.low, self.high))
        return f"{value} (95 % interval {low} to {high})"


def check_seeds(values: np.ndarray, where: str) -> np.ndarray:
    """`values`, one number a seed, as floats. Raises LabError for fewer than two, and where one is not finite."""
    try:
        values = np.asarray(values, float)
    except (TypeError, ValueError):
        raise LabError(f"{where} takes numbers, one a seed, not {values!r}") from None
    if values.ndim != 1 or values.size < 2:
        raise LabError(f"{where} needs two seeds or more, one number each, not the shape {values.shape}")
    if not np.isfinite(values).all():
        raise LabError(f"{where}: a number is {'missing (nan)' if np.isnan(values).any() else 'infinite'}")
    return values


def difference(a: np.ndarray, b: np.ndarray) -> Estimate:
    """How much higher the mean of `a` is than that of `b`, one number a seed in each, with Welch's interval.

    Raises LabError for fewer than two seeds on a side, and for a number that is missing or infinite.
    """
    return Difference(check_seeds(a, "difference"), check_seeds(b, "difference")).estimate()


def compare(results: Results, reference: object, metric: str = "val_accuracy") -> pd.DataFrame:
    """How much higher `metric` is at the last epoch with each value than with `reference`; accuracies in points.

    One row a value, as text with Welch's interval. Raises LabError where `reference` is none of the values, and where
    a value has fewer than two seeds, or a number of it is missing or infinite.
    """
    last = results.last(metric)
    if reference not in last:
        raise LabError(f"{results.name}: {results.vary} {reference!r} is not among {', '.join(map(str, last))}")
    where = f"compare: {results.name}, {results.vary}"
    seeds = {v: check_seeds(in_percent(metric, last[v]), f"{where} {v}, {metric}") for v in last}
    number = FORMATS["of loss" if metric.endswith("loss") else "points"]
    found = {str(v): Difference(seeds[v], seeds[reference]).estimate().format(number) for v in last if v != reference}
    title = TITLES.get(metric, metric).replace("(%)", "(points)")
    return pd.DataFrame({f"{title} less that of {reference}": found}).rename_axis(results.vary)


# Four kinds of quantity. Each has an estimate with its interval, with the seeds there are or as it would be with
# another number of them and the spread seen; and the one-sided p of lying over (or under) a limit.


@dataclass(frozen=True)
class Mean:
    """The mean of one number a seed; Student's interval and p."""

    values: np.ndarray

    @property
    def seeds(self) -> int:
        return len(self.values)

    def estimate(self, seeds: int | None = None, tail: float = TAIL) -> Estimate:
        n = seeds or self.seeds
        mean, error = self.values.mean(), self.values.std(ddof=1) / np.sqrt(n)
        half = stats.t.ppf(1 - tail, n - 1) * error
        return Estimate(float(mean), float(mean - half), float(mean + half))

    def p(self, limit: float, over: bool) -> float:
        if np.ptp(self.values) == 0:
            return float(not (self.values[0] > limit if over else self.values[0] < limit))
        return float(stats.ttest_1samp(self.values, limit, alternative="greater" if over else "less").pvalue)


@dataclass(frozen=True)
class Difference:
    """The mean of `a` less that of `b`, unpaired; Welch's interval, and p by permuting the runs.

    `a` may hold the runs of two values, for their mean: it has more runs than seeds then.
    """

    a: np.ndarray
    b: np.ndarray

    @property
    def seeds(self) -> int:
        return len(self.b)

    def estimate(self, seeds: int | None = None, tail: float = TAIL) -> Estimate:
        sizes = np.array([len(self.a), len(self.b)]) * ((seeds or self.seeds) / self.seeds)
        squares = np.array([self.a.var(ddof=1), self.b.var(ddof=1)]) / sizes
        value, half = float(self.a.mean() - self.b.mean()), 0.0
        if squares.sum() > 0:
            freedom = squares.sum() ** 2 / (squares**2 / (sizes - 1)).sum()
            half = float(stats.t.ppf(1 - tail, freedom) * np.sqrt(squares.sum()))
        return Estimate(value, value - half, value + half)

    def p(self, limit: float, over: bool) -> float:
        def statistic(a, b, axis):
            return a.mean(axis=axis) - b.mean(axis=axis)

        side = "greater" if over else "less"
        told = stats.permutation_test((self.a - limit, self.b), statistic, vectorized=True, alternative=side, rng=0)
        return float(told.pvalue)


class Ratio(Difference):
    """The typical `a` over the typical `b` (geometric means): a difference of logarithms."""

    @property
    def logarithm(self) -> Difference:
        return Difference(np.log(self.a), np.log(self.b))

    def estimate(self, seeds: int | None = None, tail: float = TAIL) -> Estimate:
        log = self.logarithm.estimate(seeds, tail)
        return Estimate(*(float(np.exp(number)) for number in (log.value, log.low, log.high)))

    def p(self, limit: float, over: bool) -> float:
        return self.logarithm.p(np.log(limit), over)


@dataclass(frozen=True)
class Share:
    """The share of runs of which something is true; the interval of Clopper and Pearson, and the binomial p."""

    true: np.ndarray

    @property
    def seeds(self) -> int:
        return len(self.true)

    def estimate(self, seeds: int | None = None, tail: float = TAIL) -> Estimate:
        n, share = seeds or self.seeds, float(self.true.mean())
        interval = stats.binomtest(round(share * n), n).proportion_ci(1 - 2 * tail, "exact")
        return Estimate(share, float(interval.low), float(interval.high))

    def p(self, limit: float, over: bool) -> float:
        side = "greater" if over else "less"
        return float(stats.binomtest(int(self.true.sum()), self.seeds, limit, side).pvalue)


@dataclass(frozen=True)
class Claim:
    """That a quantity lies over a limit (or under it), in a unit of which `margin` is as much as matters.

    `measure` takes the results of the conclusion's studies, in their order.
    """

    text: str
    measure: Callable[..., Mean | Difference | Ratio | Share]
    over: bool
    limit: float
    unit: str
    margin: float

    @property
    def told_limit(self) -> str:
        return f"{'over' if self.over else 'under'} {self.limit:g} {self.unit}"

    def holds(self, found: Estimate) -> bool:
        """Whether the whole interval lies on the claim's side of the limit."""
        return found.low > self.limit if self.over else found.high < self.limit

    def opposite(self) -> "Claim":
        return replace(self, over=not self.over)

    def support(self, number: float) -> float:
        """How far a number lies on the claim's side of the limit, in units of the margin."""
        return (number - self.limit) / self.margin * (1 if self.over else -1)

    def weakest(self, found: Estimate) -> float:
        """The support of that end of an interval that lies further to the other side."""
        return min(self.support(found.low), self.support(found.high))


@dataclass(frozen=True)
class Conclusion:
    """What was concluded, the studies that can tell, and the claims by which it is judged.

    With `every`, all claims must hold, and one opposite contradicts; without, one must hold, and all opposites
    contradict. `as_read` are the claims with the figure that was read at the time, where that is another.
    """

    id: str
    text: str
    studies: tuple[str, ...]
    claims: tuple[Claim, ...]
    every: bool = True
    as_read: tuple[Claim, ...] = ()

    @property
    def rule(self) -> str:
        """The claims in words."""
        told = []
        for limit, claims in groupby(self.claims, lambda claim: claim.told_limit):
            texts = [claim.text.rpartition(" ") for claim in claims]
            alike = [(first, [end for *_, end in same]) for first, same in groupby(texts, lambda parts: parts[0])]
            many = "" if len(texts) == 1 else " all" if self.every else " some"
            what = "; ".join(f"{first} {', '.join(ends)}" for first, ends in alike)
            told.append(f"{what}:{many} {limit}")
        return " and ".join(told)


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a conclusion, and the claim that decided it, with its estimate.

    `seeds` is how many runs a setting has; `needed`, where they cannot tell, about how many would, with the spread
    seen (None: more than `MOST_SEEDS`).
    """

    conclusion: Conclusion
    verdict: str
    claim: Claim
    estimate: Estimate
    seeds: int
    needed: int | None = None

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.conclusion.id}: {self.conclusion.text}",
                f"  rule      {self.conclusion.rule}",
                f"  estimate  {self.claim.text}: {self.told_estimate} {self.claim.unit}",
                f"  verdict   {self.told_verdict}",
            ]
        )

    @property
    def told_estimate(self) -> str:
        return self.estimate.format(FORMATS[self.claim.unit])

    @property
    def told_claim(self) -> str:
        """The claim as a question, and what was found."""
        return f"{self.claim.text} {self.claim.told_limit}? {self.told_estimate}"

    @property
    def told_verdict(self) -> str:
        if self.verdict != "inconclusive":
            return self.verdict
        many = f"about {self.needed:,}" if self.needed else f"more than {MOST_SEEDS:,}"
        return f"inconclusive with {self.seeds} seeds; {many} would tell"


class Verdicts(tuple):
    """Verdicts, shown one below the other."""

    def __repr__(self) -> str:
        return "\n\n".join(map(str, self))

    def to_markdown(self) -> str:
        """A table of them for a README."""
        rows = [
            ("", "conclusion of 2018", "claim that decides, and what was found", "verdict"),
            ("---",) * 4,
            *((v.conclusion.id, v.conclusion.text, v.told_claim, v.told_verdict) for v in self),
        ]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def judge(conclusion: Conclusion, *results: Results) -> Verdict:
    """The verdict on a conclusion, from the results of its studies, in their order.

    Raises LabError, naming conclusion, study and value, where one is missing or has fewer than two seeds.
    """
    try:
        quantities = [claim.measure(*results) for claim in conclusion.claims]
        read = [claim.holds(claim.measure(*results).estimate()) for claim in conclusion.as_read]
    except LabError as error:
        raise LabError(f"{conclusion.id}: {error}") from None
    # without `every` it is the opposites that must all hold, and what one of them being wrong shows is the conclusion
    claims = [claim if conclusion.every else claim.opposite() for claim in conclusion.claims]
    found = [quantity.estimate() for quantity in quantities]
    refuted = _refuted(claims, quantities)
    if any(refuted):
        outcome, decides = (
            "refuted",
            min(range(len(claims)), key=lambda i: (not refuted[i], claims[i].support(found[i].value))),
        )
    else:
        outcome = "hold" if all(claim.holds(e) for claim, e in zip(claims, found, strict=True)) else "open"
        decides = min(range(len(claims)), key=lambda i: claims[i].weakest(found[i]))
    words = {"hold": "reproduced", "refuted": "contradicted"}
    if not conclusion.every:
        words = {"hold": "contradicted", "refuted": "reproduced"}
    verdict = words.get(outcome, "inconclusive")
    if verdict != "reproduced" and read and all(read):
        verdict = "artefact"
    needed = _count_needed(claims, quantities) if verdict == "inconclusive" else None
    return Verdict(conclusion, verdict, conclusion.claims[decides], found[decides], quantities[decides].seeds, needed)


def _refuted(claims: list[Claim], quantities: list) -> list[bool]:
    """For each claim whether its opposite holds: by its interval, and by Holm's correction over all claims."""
    opposites = [claim.opposite() for claim in claims]
    holds = [claim.holds(q.estimate()) for claim, q in zip(opposites, quantities, strict=True)]
    if not any(holds):
        return holds
    p = np.array([q.p(claim.limit, claim.over) for claim, q in zip(opposites, quantities, strict=True)])
    order, adjusted = np.argsort(p), np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return [bool(alone <= LEVEL) and held for alone, held in zip(adjusted, holds, strict=True)]


def _count_needed(claims: list[Claim], quantities: list) -> int | None:
    """About how many seeds would bring a verdict, were the estimates as they are: one claim refuted, or all to hold."""
    against = [(c, q) for c, q in zip(claims, quantities, strict=True) if c.support(q.estimate().value) < 0]
    if against:  # one refuted, the first in Holm's order: by an interval, and at the level divided by all claims
        told = min(_count_seeds(claim.opposite(), q, min(TAIL, LEVEL / len(claims))) for claim, q in against)
    else:
        told = max(_count_seeds(claim, q, TAIL) for claim, q in zip(claims, quantities, strict=True))
    told = max(told, 1 + min(q.seeds for q in quantities))  # what there is does not tell
    return int(told) if told <= MOST_SEEDS else None


def _count_seeds(claim: Claim, quantity, tail: float) -> float:
    """How many seeds would put a quantity's interval on the claim's side of the limit."""

    def tells(n: int) -> bool:
        return claim.holds(quantity.estimate(n, tail))

    low, high = 1, 2
    while not tells(high):
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if tells(middle) else (middle, high)
    return high
