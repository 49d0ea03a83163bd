import numpy as np
import pytest
from scipy.stats import binom

from mnist_lab.verdicts.judge import Claim, Conclusion, Verdicts, judge
from mnist_lab.verdicts.stats import Estimate, difference, mean, share

TIGHT = np.array([-0.02, -0.01, 0, 0.01, 0.02])


def decide(*measured, require_all=True, as_read=(), **claim):
    """The verdict on one claim about each array, and the number of the claim that decided it."""

    def make_claims(arrays):
        return [Claim(f"{i}", lambda values=values: mean(values), **claim) for i, values in enumerate(arrays)]

    verdict = judge(Conclusion("id", "text", [], make_claims(measured), require_all, make_claims(as_read)))
    return verdict.verdict, int(verdict.claim.text)


def test_all_claims_must_hold_and_one_opposite_contradicts():
    wide = np.array([1, 1, 1, 1, -3.0])
    assert decide(0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT) == ("reproduced", 1)  # the weakest decides
    assert decide(0.3 + TIGHT, -0.1 + TIGHT, -0.2 + TIGHT, wide) == ("contradicted", 2)  # the one that fails most
    assert decide(0.3 + TIGHT, wide) == ("inconclusive", 1)
    assert decide(TIGHT, 0.3 + TIGHT) == ("inconclusive", 0)
    assert decide(np.zeros(3)) == ("inconclusive", 0)  # at the limit is not above it, nor below


def test_with_one_required_claim_all_opposites_contradict():
    some = {"require_all": False}
    assert decide(-0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT, **some) == ("reproduced", 2)
    assert decide(-0.3 + TIGHT, -0.1 + TIGHT, **some) == ("contradicted", 1)
    assert decide(-0.3 + TIGHT, TIGHT, **some) == ("inconclusive", 1)


def test_no_more_than_a_margin_better_has_three_answers():
    rule = {"limit": 0.2, "above": False}
    verdicts = [decide(value + TIGHT, **rule)[0] for value in (0.1, 0.2, 0.3)]
    assert verdicts == ["reproduced", "inconclusive", "contradicted"]


def test_an_artefact_holds_only_as_it_was_read():
    above, below = [0.1 + TIGHT], [-0.1 + TIGHT]
    verdicts = [decide(*a, as_read=b)[0] for a, b in ((below, above), (TIGHT[None], above), (above, above))]
    assert verdicts == ["artefact", "artefact", "reproduced"]
    assert decide(*below, as_read=[*above, *below])[0] == "contradicted"


def test_one_of_many_is_contradicted_only_after_holms_correction():
    """By t tests with four degrees of freedom: p = 0.0006 for a mean of −3 and 0.012 for −1.3, both times 21."""
    low, just_low = (mean + np.array([-1, -0.6, 0, 0.6, 1]) for mean in (-3, -1.3))
    others = [2 + TIGHT] * 20
    assert decide(low, *others) == ("contradicted", 0)
    assert decide(just_low, *others) == ("inconclusive", 0)
    assert decide(just_low) == ("contradicted", 0)


def test_claims_in_different_units_are_weighed_by_their_margins():
    percent = Claim("a", lambda: mean(99.2 + TIGHT), limit=99, unit="%", margin=0.2)
    loss = Claim("b", lambda: mean(0.05 + TIGHT), unit="loss", margin=0.01)
    assert judge(Conclusion("id", "text", [], [percent, loss])).claim is percent
    assert percent.support(Estimate(99.2, 99.1, 99.4, 5, None)) == pytest.approx([0.5, 1, 2])
    below = Claim("c", None, limit=1.0, above=False)
    assert below.support(Estimate(1.2, 0.9, 1.6, 5, None)) == pytest.approx([-3, -1, 0.5])


def test_verdicts_are_plain_text_and_a_table():
    claims = [
        Claim("depth 1 − depth 5", lambda: difference(TIGHT - 0.5, TIGHT)),
        Claim("loss, late − early", lambda: mean(TIGHT), limit=-0.01, unit="loss"),
        Claim("share of runs at depth 7", lambda: share(TIGHT < 1), limit=50, unit="%", above=False),
    ]
    verdicts = Verdicts(judge(Conclusion(f"depth-{i}", "one is best", [], [claim])) for i, claim in enumerate(claims))
    assert repr(verdicts).split("\n\n")[:2] == [
        "depth-0: one is best\n"
        "  claim     depth 1 − depth 5 > 0 pp\n"
        "  estimate  −0.50 pp, 95 % CI [−0.52, −0.48]\n"
        "  verdict   contradicted",
        "depth-1: one is best\n"
        "  claim     loss, late − early > −0.01\n"
        "  estimate  +0.0000, 95 % CI [−0.0196, +0.0196]\n"
        "  verdict   inconclusive (5 seeds)",
    ]
    assert verdicts.to_markdown().splitlines() == [
        "| id | conclusion of 2018 | what was measured | verdict |",
        "| --- | --- | --- | --- |",
        "| depth-0 | one is best | depth 1 − depth 5 > 0 pp? −0.50 pp, 95 % CI [−0.52, −0.48] | contradicted |",
        "| depth-1 | one is best | loss, late − early > −0.01? +0.0000, 95 % CI [−0.0196, +0.0196] "
        "| inconclusive (5 seeds) |",
        "| depth-2 | one is best | share of runs at depth 7 < 50 %? 100.00 %, 95 % CI [47.82, 100.00] "
        "| inconclusive (5 seeds) |",
    ]


@pytest.mark.parametrize(("require_all", "count"), [(True, 1), (True, 8), (False, 8)])
def test_no_verdict_is_wrong_more_often_than_stated(require_all, count):
    """At the limit: 2.5 % if all intervals must agree, 5 % for one of them by its p-value after Holm's correction."""
    rng, trials = np.random.default_rng(1), 150

    def count_wrong(verdict, means):
        def judge_once():
            claims = [Claim("", lambda x=x: difference(rng.normal(x, 1, 5), rng.normal(0, 1, 5))) for x in means]
            return judge(Conclusion("id", "text", [], claims, require_all)).verdict

        return sum(judge_once() == verdict for _ in range(trials))

    all_agree, one_is_enough = ("reproduced", "contradicted") if require_all else ("contradicted", "reproduced")
    far = 9 if require_all else -9
    assert count_wrong(all_agree, [0, *[far] * (count - 1)]) <= binom.ppf(0.99, trials, 0.025)
    assert count_wrong(one_is_enough, [0] * count) <= binom.ppf(0.99, trials, 0.05)
