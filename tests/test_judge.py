import numpy as np

from mnist_lab.judging.judge import Claim, Conclusion, judge
from mnist_lab.judging.stats import mean

TIGHT = np.array([-0.02, -0.01, 0, 0.01, 0.02])
WIDE = np.array([1, 1, 1, 1, -3.0])


def decide(*measured, **options):
    """The verdict on one claim about each array, and the number of the claim that decided it."""
    claims = [Claim(f"{number}", lambda values=values: mean(values)) for number, values in enumerate(measured)]
    verdict = judge(Conclusion("id", "text", [], claims, **options))
    return verdict.verdict + verdict.addition, int(verdict.claim.text)


def test_the_claim_shown_is_the_one_that_decides():
    assert decide(0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT) == ("reproduced", 1)  # the weakest
    assert decide(0.3 + TIGHT, -0.1 + TIGHT, -0.2 + TIGHT, WIDE) == ("contradicted", 2)  # the one that fails most
    assert decide(0.3 + TIGHT, WIDE) == ("inconclusive", 1)
    assert decide(np.zeros(3)) == ("inconclusive", 0)  # at the limit is not above it, nor below
    one = {"all_claims": False}  # one claim is enough
    assert decide(-0.3 + TIGHT, 0.1 + TIGHT, 0.2 + TIGHT, **one) == ("reproduced", 2)
    assert decide(-0.3 + TIGHT, -0.1 + TIGHT, **one) == ("contradicted", 1)
    assert decide(-0.3 + TIGHT, TIGHT, **one) == ("inconclusive", 1)
    four = {"fourth_outcome": True}
    assert decide(0.5 + TIGHT, 0.1 + TIGHT, **four) == ("reproduced, by less than matters", 1)
    assert decide(0.4 + 16 * TIGHT, 0.12 + TIGHT, **four) == ("reproduced, by less than matters", 1)
    assert decide(0.5 + TIGHT, TIGHT, **four) == ("no difference that matters", 1)
    assert decide(0.3 + 16 * TIGHT, 5 * TIGHT - 0.05, **four) == ("inconclusive", 0)  # the other is equal enough


def test_one_of_many_is_contradicted_only_after_holms_correction():
    """By t tests with four degrees of freedom: p = 0.0006 for a mean of −3 and 0.012 for −1.3, both times 21."""
    low, just_low = (mean + np.array([-1, -0.6, 0, 0.6, 1]) for mean in (-3, -1.3))
    others = [2 + TIGHT] * 20
    assert decide(low, *others) == ("contradicted", 0)
    assert decide(just_low, *others) == ("inconclusive", 0)
    assert decide(just_low) == ("contradicted", 0)
