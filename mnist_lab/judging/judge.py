"""From claims to a verdict; and the comparison of a study's values with one of them.

*Reproduced*: the 95 % intervals of all claims lie on the claimed side of the limit. *Contradicted*: for some claim the
opposite holds, by its interval and by its one-sided p-value after Holm's correction (at 5 %). Else *inconclusive*; an
*artefact* if the figure that was read in 2018 would reproduce it; and in a follow-up *no difference that matters* if
each interval lies on the claimed side, or within the margin on both sides of the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

from mnist_lab.errors import LabError
from mnist_lab.judging.stats import Estimate, adjust, check_seeds, difference
from mnist_lab.studies.record import find_cpus
from mnist_lab.studies.results import TITLES, Results, in_percent

MATTERS = 0.2  # pp, twenty images in ten thousand: the smallest difference that matters
UNITS = {"pp": ("+.2f", " pp"), "%": (".2f", " %"), "loss": ("+.4f", ""), "ratio": (".2f", "")}  # format and suffix


@dataclass(frozen=True)
class Claim:
    """The claim that what `measure` estimates lies above a limit, or below; `margin` is the least that matters."""

    text: str
    measure: Callable[..., Estimate]
    limit: float = 0
    above: bool = True
    unit: str = "pp"
    margin: float = MATTERS

    def __str__(self) -> str:
        limit = f"{self.limit:g}{UNITS[self.unit][1]}".replace("-", "−")
        return f"{self.text} {'>' if self.above else '<'} {limit}"

    def support(self, estimate: Estimate) -> list[float]:
        """How far on the claimed side of the limit, in margins, the interval begins, the estimate is, and it ends."""
        side = 1 if self.above else -1
        return sorted(side * (x - self.limit) / self.margin for x in (estimate.low, estimate.value, estimate.high))


@dataclass(frozen=True)
class Conclusion:
    """A conclusion of 2018, the studies that can judge it, and its claims.

    All claims must hold; without `all_claims`, one is enough. `as_read` are the claims with the figure that was read
    in 2018, if that is another. `beside` are claims that add `beside_text` to a contradiction. `rule` says it in words.
    With `fourth_outcome`, *no difference that matters* is a possible verdict, too.
    """

    id: str
    text: str
    studies: list[str]
    claims: list[Claim]
    rule: str = ""
    all_claims: bool = True
    as_read: list[Claim] = field(default_factory=list)
    beside: list[Claim] = field(default_factory=list)
    beside_text: str = ""
    fourth_outcome: bool = False


@dataclass(frozen=True)
class Verdict:
    """A verdict on a conclusion, with the claim that decides it and that claim's estimate, or why there is none."""

    conclusion: Conclusion
    verdict: str
    claim: Claim
    estimate: Estimate | str
    addition: str = ""
    followup: "Verdict | None" = None  # from fresh seeds

    @property
    def texts(self) -> dict[str, str]:
        """What is shown of it: claim, estimate, verdict and rule."""
        estimate, seeds = self.estimate, ""
        if isinstance(estimate, Estimate):
            estimate = estimate.format(*UNITS[self.claim.unit])
            seeds = f" ({self.estimate.seeds} seeds)" * (self.verdict == "inconclusive")
        verdict = f"{self.verdict}{seeds}{self.addition}"
        return {"claim": str(self.claim), "estimate": estimate, "verdict": verdict, "rule": self.conclusion.rule}

    @property
    def line(self) -> str:
        """The verdict in one line."""
        return "{verdict}; {claim}: {estimate}".format(**self.texts)

    def __str__(self) -> str:
        lines = [f"{self.conclusion.id}: {self.conclusion.text}", *(f"  {n:9} {t}" for n, t in self.texts.items())]
        return "\n".join(lines + [f"follow-up {self.followup}"] * bool(self.followup))


class Verdicts(tuple):
    """Verdicts, shown as a table in a notebook, and one below the other in a terminal."""

    def __repr__(self) -> str:
        return "\n\n".join(map(str, self))

    def _repr_html_(self) -> str:
        heads = ["conclusion", "claim", "estimate", "verdict"]
        lines = [("th", heads + ["follow-up, fresh seeds"] * any(verdict.followup for verdict in self))]
        for verdict in self:
            both = [one for one in (verdict, verdict.followup) if one]
            rules = "<br>Follow-up: ".join(escape(f"{one.conclusion.text}: {one.conclusion.rule}") for one in both)
            title = f"<b>{verdict.conclusion.id}</b>: {verdict.conclusion.text}"
            title += f"<details><summary>rule</summary>{rules}</details>"
            lines.append(("td", [title, *map(escape, [*verdict.texts.values()][:3] + [one.line for one in both[1:]])]))
        rows = ["".join(f'<{tag} style="text-align: left">{cell}</{tag}>' for cell in cells) for tag, cells in lines]
        return f"<table><tr>{'</tr><tr>'.join(rows)}</tr></table>"


def judge(conclusion: Conclusion, *results: Results) -> Verdict:
    """The verdict on a conclusion, from the results of its studies in their order, or why it cannot be judged."""

    def holds(claims: list[Claim]) -> bool:
        return bool(claims) and all(min(claim.support(claim.measure(*results))) > 0 for claim in claims)

    try:
        runs = [run for study in results for runs in study.runs.values() for run in runs]
        if conclusion.id.endswith("b") and len(cpus := find_cpus(runs)) > 1:
            raise LabError(f"the follow-up's rules ask for one kind of CPU, not for {len(cpus)}: {'; '.join(cpus)}")
        estimates = [claim.measure(*results) for claim in conclusion.claims]
        as_read, beside = holds(conclusion.as_read), holds(conclusion.beside)
    except LabError as error:
        return Verdict(conclusion, "cannot be judged", conclusion.claims[0], str(error))
    pairs = list(zip(conclusion.claims, estimates, strict=True))
    low, middle, high = np.array([claim.support(estimate) for claim, estimate in pairs]).T
    if not conclusion.all_claims:  # "one claim holds" is judged by its negation, "all opposites hold"
        low, middle, high = -high, -middle, -low
    refuted, small = high < 0, (low > -1) & (high < 1) & conclusion.fourth_outcome
    if refuted.any():
        sides = ["greater" if claim.above != conclusion.all_claims else "less" for claim in conclusion.claims]
        p_values = [estimate.p_value(claim.limit, side) for (claim, estimate), side in zip(pairs, sides, strict=True)]
        refuted &= adjust(np.array(p_values)) <= 0.05
    fails = (low <= 0) & ~small
    verdict, addition, shown = "inconclusive", "", fails
    if refuted.any():
        verdict, shown = "contradicted" if conclusion.all_claims else "reproduced", refuted
        addition = "; an artefact of how it was read" * as_read + conclusion.beside_text * beside
    elif low.min() > 0:
        verdict, shown = "reproduced" if conclusion.all_claims else "contradicted", small if small.any() else ~fails
        addition = ", by less than matters" * bool(small.any())
    elif not fails.any():
        verdict, shown = "no difference that matters", small
    elif as_read:
        verdict = "artefact"
    decides = np.where(shown, middle if refuted.any() else low, np.inf).argmin()
    return Verdict(conclusion, verdict, *pairs[decides], addition)


def compare(results: Results, reference: object, metric: str = "val_accuracy") -> pd.DataFrame:
    """A table of `metric` at the last epoch: each value − `reference`, accuracies in pp, with Welch's 95 % interval.

    Raises LabError where `reference` or a finite number is missing.
    """
    last, where = results.last(metric), f"compare: {results.name}"
    if reference not in last:
        raise LabError(f"{where}: no {results.vary} {reference!r}; expected one of {', '.join(map(repr, last))}")
    seeds = {v: check_seeds(in_percent(metric, last[v]), f"{where}, {results.vary} {v}, {metric}") for v in last}
    number = "+.4f" if metric.endswith("loss") else "+.2f"
    rows = {str(v): difference(seeds[v], seeds[reference]).format(number) for v in last if v != reference}
    title = TITLES.get(metric, metric).replace("(%)", "(pp)")
    return pd.DataFrame({f"{title}, difference from {results.vary} {reference}": rows}).rename_axis(results.vary)
