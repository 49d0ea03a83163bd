from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from mnist_lab.judging.judge import Claim, Conclusion, Verdicts, judge
from mnist_lab.judging.stats import difference, mean, median, share

TIGHT = np.array([-0.02, -0.01, 0, 0.01, 0.02])


def decide(*measured, all_claims=True, as_read=(), beside=(), fourth_outcome=False, **claim):
    """The verdict on one claim about each array, and the number of the claim that decided it."""

    def make_claims(arrays):
        return [Claim(f"{i}", lambda values=values: mean(values), **claim) for i, values in enumerate(arrays)]

    options = {"all_claims": all_claims, "as_read": make_claims(as_read), "fourth_outcome": fourth_outcome}
    options |= {"beside": make_claims(beside), "beside_text": "!"}
    verdict = judge(Conclusion("id", "text", [], make_claims(measured), **options))
    return verdict.verdict + verdict.addition, int(verdict.claim.text)


def test_all_claims_must_hold_and_one_opposite_contradicts():
    wide = np.array([1, 1, 1, 1, -3.0])
    assert decide(0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT) == ("reproduced", 1)  # the weakest decides
    assert decide(0.3 + TIGHT, -0.1 + TIGHT, -0.2 + TIGHT, wide) == ("contradicted", 2)  # the one that fails most
    assert decide(0.3 + TIGHT, wide) == ("inconclusive", 1)
    assert decide(TIGHT, 0.3 + TIGHT) == ("inconclusive", 0)
    assert decide(np.zeros(3)) == ("inconclusive", 0)  # at the limit is not above it, nor below


def test_with_one_required_claim_all_opposites_contradict():
    some = {"all_claims": False}
    assert decide(-0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT, **some) == ("reproduced", 2)
    assert decide(-0.3 + TIGHT, -0.1 + TIGHT, **some) == ("contradicted", 1)
    assert decide(-0.3 + TIGHT, TIGHT, **some) == ("inconclusive", 1)


def test_an_artefact_holds_only_as_it_was_read():
    above, below = [0.1 + TIGHT], [-0.1 + TIGHT]
    verdicts = [decide(*a, as_read=b)[0] for a, b in ((below, above), (TIGHT[None], above), (above, above))]
    assert verdicts == ["contradicted; an artefact of how it was read", "artefact", "reproduced"]
    assert decide(*below, as_read=[*above, *below])[0] == "contradicted"


def test_the_four_outcomes_of_a_follow_up_come_in_their_order():
    four, wide = {"fourth_outcome": True}, np.array([1, 1, 1, 1, -3.0])
    assert decide(0.5 + TIGHT, 0.3 + TIGHT, **four) == ("reproduced", 1)
    assert decide(0.5 + TIGHT, 0.1 + TIGHT, **four) == ("reproduced, by less than matters", 1)
    assert decide(0.5 + TIGHT, TIGHT, **four) == ("no difference that matters", 1)
    assert decide(0.5 + TIGHT, -0.1 + TIGHT, **four) == ("contradicted", 1)  # although it is less than matters
    assert decide(TIGHT, wide, **four) == ("inconclusive", 1)
    assert decide(0.3 + 16 * TIGHT, 5 * TIGHT - 0.05, **four) == ("inconclusive", 0)  # the other is equal enough
    assert decide(0.4 + 16 * TIGHT, 0.12 + TIGHT, **four) == ("reproduced, by less than matters", 1)
    assert decide(-0.1 + TIGHT, beside=[TIGHT + 1])[0] == "contradicted!"
    assert decide(TIGHT, beside=[TIGHT + 1])[0] == "inconclusive"


def test_one_of_many_is_contradicted_only_after_holms_correction():
    """By t tests with four degrees of freedom: p = 0.0006 for a mean of −3 and 0.012 for −1.3, both times 21."""
    low, just_low = (mean + np.array([-1, -0.6, 0, 0.6, 1]) for mean in (-3, -1.3))
    others = [2 + TIGHT] * 20
    assert decide(low, *others) == ("contradicted", 0)
    assert decide(just_low, *others) == ("inconclusive", 0)
    assert decide(just_low) == ("contradicted", 0)


def test_verdicts_are_plain_text():
    share_below = Claim("share of runs", lambda: share(TIGHT < 1), limit=50, unit="%", above=False)
    loss = Claim("loss, late − early", lambda: mean(TIGHT), limit=-0.01, unit="loss")
    verdicts = Verdicts(
        judge(Conclusion("a-1", "it falls", [], [claim], "If it falls.")) for claim in (share_below, loss)
    )
    assert repr(verdicts).split("\n\n")[1].splitlines() == [
        "a-1: it falls",
        "  claim     loss, late − early > −0.01",
        "  estimate  +0.0000, 95 % CI [−0.0196, +0.0196]",
        "  verdict   inconclusive (5 seeds)",
        "  rule      If it falls.",
    ]
    html = verdicts._repr_html_()
    assert "<details><summary>rule</summary>it falls: If it falls.</details>" in html
    assert "share of runs &lt; 50 %" in html
    assert "follow-up" not in html
    later = judge(Conclusion("a-1b", "it falls", [], [loss], "If it falls, in fresh runs."))
    both = Verdicts([replace(verdicts[0], followup=later), verdicts[1]])
    assert repr(both).splitlines()[5] == "follow-up a-1b: it falls"
    html = both._repr_html_()
    assert "If it falls.<br>Follow-up: it falls: If it falls, in fresh runs.</details>" in html
    assert "inconclusive (5 seeds); loss, late − early &gt; −0.01: +0.0000, 95 % CI [−0.0196, +0.0196]</td>" in html


@pytest.mark.parametrize(("all_claims", "count"), [(True, 1), (True, 8), (False, 8)])
def test_no_verdict_is_wrong_more_often_than_stated(all_claims, count):
    """At the limit: 2.5 % if all intervals must agree, 5 % for one of them by its p-value after Holm's correction."""
    rng, trials, far = np.random.default_rng(1), 150, 9 if all_claims else -9

    def judge_once(means):
        groups = [(rng.normal(mean, 1, 5), rng.normal(0, 1, 5)) for mean in means]
        claims = [Claim("", lambda a=a, b=b: difference(a, b)) for a, b in groups]
        return judge(Conclusion("id", "text", [], claims, all_claims=all_claims)).verdict

    all_agree, one_is_enough = ("reproduced", "contradicted") if all_claims else ("contradicted", "reproduced")
    one_at_limit, all_at_limit = [0] + [far] * (count - 1), [0] * count
    for means, verdict, rate in ((one_at_limit, all_agree, 0.025), (all_at_limit, one_is_enough, 0.05)):
        assert sum(judge_once(means) == verdict for _ in range(trials)) <= binom.ppf(0.99, trials, rate)


@pytest.mark.parametrize("estimate", [mean, median])
def test_no_outcome_of_a_follow_up_is_wrong_more_often_than_stated(estimate):
    """At the limits: 0, and for "no difference that matters" a difference that just matters, −0.2."""
    rng, trials = np.random.default_rng(2), 200
    nulls = {"reproduced": [0, 9, 9], "contradicted": [0, 0, 0], "no difference that matters": [-0.2, 9, 9]}

    def judge_once(centres):  # of skewed numbers, for the median
        skewed = rng.exponential(0.3, (len(centres), 20)) - 0.3 * np.log(2)
        noise = skewed if estimate is median else rng.normal(0, 0.3, (len(centres), 20))
        claims = [Claim("", lambda d=d: estimate(d)) for d in noise + np.array(centres)[:, None]]
        return judge(Conclusion("id", "text", [], claims, fourth_outcome=True)).verdict

    for verdict, centres in nulls.items():
        found = sum(judge_once(centres) == verdict for _ in range(trials))
        assert found <= binom.ppf(0.99, trials, 0.05 if verdict == "contradicted" else 0.025), verdict
