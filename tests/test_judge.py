from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mnist_lab.conclusions import CONCLUSIONS, LOSSES, verdicts
from mnist_lab.errors import LabError
from mnist_lab.judge import (
    Claim,
    Conclusion,
    Difference,
    Estimate,
    Mean,
    Ratio,
    Share,
    _count_needed,
    _refuted,
    compare,
    difference,
    judge,
)
from mnist_lab.record import SCORES, make_key, write_runs
from mnist_lab.results import Results


def make_results(name="mlp_depth", epochs=1, **metrics):
    """Results from one number a seed, in points, for each value: its last epoch, or all its curves."""
    values = next(iter(metrics.values()))

    def make_run(value, seed):
        run = {metric: np.broadcast_to(numbers[value][seed], epochs) / 100 for metric, numbers in metrics.items()}
        return pd.DataFrame(run)

    return Results(name, "depth", {v: [make_run(v, seed) for seed in range(len(values[v]))] for v in values})


def find(name):
    return next(conclusion for conclusion in CONCLUSIONS if conclusion.id == name)


def test_welch_against_a_calculation_by_hand():
    """Variances of 1, three seeds a side: four degrees of freedom, tabled t 2.77645, standard error sqrt(2/3)."""
    told = difference([2, 3, 4], [5, 6, 7])
    assert told.value == -3
    assert told.high == pytest.approx(-3 + 2.77645 * (2 / 3) ** 0.5, abs=1e-4)
    assert told.low == pytest.approx(-3 - 2.77645 * (2 / 3) ** 0.5, abs=1e-4)
    assert str(told) == "-3.00 (95 % interval -5.27 to -0.73)"


def test_the_quantities_against_tables_and_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 7), rng.normal(0, 3, 20)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (difference(a, b).low, difference(a, b).high) == pytest.approx(welch)
    # four seeds, standard deviation 1.29099; tabled t 3.18245
    mean, half = Mean(np.array([1.0, 2, 3, 4])), 3.18245 * 1.29099 / 2
    told = mean.estimate()
    assert (told.value, told.low, told.high) == pytest.approx((2.5, 2.5 - half, 2.5 + half), abs=1e-4)
    # as far as the end of its two-sided interval: half of what that leaves out
    assert (mean.p(told.low, over=True), mean.p(told.high, over=False)) == pytest.approx((0.025, 0.025))
    assert mean.p(told.high, over=True) == pytest.approx(0.975)
    # of 20 runs all: the lower end is 0.025 ** (1 / 20); of 20 none: the upper end mirrors it
    assert Share(np.ones(20, bool)).estimate().low == pytest.approx(0.025 ** (1 / 20))
    assert Share(np.zeros(20, bool)).estimate().high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert Share(np.ones(20, bool)).p(0.5, over=True) == pytest.approx(0.5**20)
    assert Share(np.zeros(20, bool)).p(0.5, over=False) == pytest.approx(0.5**20)
    ratio = Ratio(np.array([2.0, 4, 8]), np.array([1.0, 2, 4]))
    halves, logs = ratio.estimate(), difference(np.log([2, 4, 8]), np.log([1, 2, 4]))
    assert halves.value == pytest.approx(2)  # the geometric means are 4 and 2
    assert (halves.low, halves.high) == pytest.approx((np.exp(logs.low), np.exp(logs.high)))
    assert ratio.p(0.5, over=True) == Difference(np.log([4.0, 8, 16]), np.log([1.0, 2, 4])).p(0, over=True)
    more, wider = ratio.estimate(300), ratio.estimate(tail=0.0001)
    assert halves.low < more.low < 2 < more.high < halves.high < wider.high
    # of the 20 ways to split six runs three by three, one is as far apart as this
    assert Difference(np.array([4.0, 5, 6]), np.array([1.0, 2, 3])).p(0, over=True) == pytest.approx(1 / 20)
    assert Difference(np.array([4.0, 5, 6]), np.array([1.0, 2, 3])).p(5, over=False) < 0.25


def test_what_does_not_vary_has_no_width():
    ones, twos = np.ones(3), np.full(3, 2.0)
    assert difference(twos, ones) == Estimate(1, 1, 1)
    assert Mean(ones).estimate() == Estimate(1, 1, 1)
    assert [Mean(ones).p(limit, over=True) for limit in (0.5, 1, 2)] == [0, 1, 1]
    assert [Mean(ones).p(limit, over=False) for limit in (0.5, 1, 2)] == [1, 1, 0]


def test_the_p_of_many_seeds_is_the_same_each_time():
    """There are too many ways to split them to go through all: it takes some by chance."""
    rng = np.random.default_rng(0)
    quantity = Difference(rng.normal(0.5, 1, 20), rng.normal(0, 1, 20))
    assert quantity.p(0, over=True) == quantity.p(0, over=True)
    assert 0 < quantity.p(0, over=True) < 0.5 < quantity.p(0, over=False) < 1


def test_support_is_measured_from_the_limit_in_units_of_what_matters():
    over, under = (Claim("c", lambda: None, over, 1.0, "points", 0.2) for over in (True, False))
    assert [claim.support(1.5) for claim in (over, under)] == [2.5, -2.5]
    assert [claim.weakest(Estimate(0, 0.9, 1.5)) for claim in (over, under)] == pytest.approx([-0.5, -2.5])
    at = Estimate(1.5, 1, 2), Estimate(0.5, 0, 1)
    assert [over.holds(e) for e in at] == [under.holds(e) for e in at] == [False, False]
    assert over.holds(Estimate(1.5, 1.01, 2))
    assert under.holds(Estimate(0.5, 0, 0.99))


def test_the_interval_holds_the_truth_in_95_of_100():
    rng = np.random.default_rng(0)
    held = [difference(rng.normal(1, 1, 5), rng.normal(0, 3, 20)) for _ in range(2000)]
    assert np.mean([told.low < 1 < told.high for told in held]) == pytest.approx(0.95, abs=0.015)


def make_claims(over, count):
    return [Claim(f"claim {i}", lambda *_: None, over, 0.0, "points", 0.2) for i in range(count)]


def test_a_conclusion_is_reproduced_contradicted_or_open():
    tight = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    best = {1: 97.5 + tight, 2: 97.2 + tight, 3: 97.0 + tight, 4: 96.9 + tight, 5: 96.0 + tight}
    depth = find("depth-1")
    told = judge(depth, make_results(val_accuracy=best))
    assert (told.verdict, told.claim.text, told.seeds, told.needed) == ("reproduced", "1 less 2", 5, None)
    assert told.estimate.value == pytest.approx(0.3)

    told = judge(depth, make_results(val_accuracy=best | {4: 97.6 + tight}))
    assert (told.verdict, told.claim.text) == ("contradicted", "1 less 4")

    split = 97.4 + np.array([0, 0, 0, 0, -80])  # four learn, one does not
    told = judge(depth, make_results(val_accuracy=best | {5: split}))
    assert (told.verdict, told.claim.text) == ("inconclusive", "1 less 5")
    assert f"about {told.needed}" in str(told)
    wider = Difference(best[1], split).estimate(told.needed - 1)
    assert wider.low < 0 < Difference(best[1], split).estimate(told.needed).low

    told = judge(depth, make_results(val_accuracy=dict.fromkeys(best, best[1])))  # all tie
    assert (told.verdict, told.needed) == ("inconclusive", None)
    assert judge(depth, make_results(val_accuracy={d: seeds[:2] for d, seeds in best.items()})).seeds == 2


def test_more_seeds_are_asked_for_than_could_not_tell():
    """One of eight lies on the wrong side by its interval, but is no find among eight: five seeds do not do."""
    base, lower = np.array([0.0, 1, 2, 3, 4]), np.array([-2.0, -1, 0, 1, 2])
    claims, quantities = make_claims(True, 8), [Difference(lower, base + 0.6), *[Difference(base, lower)] * 7]
    assert claims[0].opposite().holds(quantities[0].estimate())
    assert not any(_refuted(claims, quantities))
    needed = _count_needed(claims, quantities)
    told = [quantities[0].estimate(n, tail=0.05 / 8).high < 0 for n in (needed - 1, needed)]
    assert told == [False, True]
    assert needed > 6
    assert _count_needed(claims[:1], quantities[:1]) == 6  # its interval does tell, so one more than there are


def test_a_ledger_is_read_and_stands_in_a_readme():
    tight = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    ledger = verdicts(make_results(val_accuracy=dict.fromkeys((1, 2, 3, 4, 5, 7, 10), 97 + tight)))
    assert repr(ledger).split("\n\n")[1:] == [
        "depth-2: beyond three layers, more bring nothing\n"
        "  rule      4 less 3; 5 less 3: all under 0.2 points\n"
        "  estimate  4 less 3: +0.00 (95 % interval -0.02 to +0.02) points\n"
        "  verdict   reproduced",
        "depth-3: deep enough, a net stops learning and stays at chance\n"
        "  rule      runs under 20 % at depth 1, 2, 3, 4, 5, 7, 10: some over 0.5 of the runs\n"
        "  estimate  runs under 20 % at depth 1: 0.00 (95 % interval 0.00 to 0.52) of the runs\n"
        "  verdict   inconclusive with 5 seeds; about 6 would tell",
    ]
    assert ledger.to_markdown().splitlines() == [
        "|  | conclusion of 2018 | claim that decides, and what was found | verdict |",
        "| --- | --- | --- | --- |",
        "| depth-1 | one hidden layer is the best of 1 to 5 "
        "| 1 less 2 over 0 points? +0.00 (95 % interval -0.02 to +0.02) "
        "| inconclusive with 5 seeds; more than 10,000 would tell |",
        "| depth-2 | beyond three layers, more bring nothing "
        "| 4 less 3 under 0.2 points? +0.00 (95 % interval -0.02 to +0.02) "
        "| reproduced |",
        "| depth-3 | deep enough, a net stops learning and stays at chance "
        "| runs under 20 % at depth 1 over 0.5 of the runs? 0.00 (95 % interval 0.00 to 0.52) "
        "| inconclusive with 5 seeds; about 6 would tell |",
    ]


def test_no_better_has_three_answers():
    tight = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    three = {3: 97 + tight, 5: 97 + tight}
    answers = {97.1: "reproduced", 97.2: "inconclusive", 97.3: "contradicted"}
    for four, verdict in answers.items():
        assert judge(find("depth-2"), make_results(val_accuracy=three | {4: four + tight})).verdict == verdict


def test_a_share_needs_one_depth_to_show_it_and_all_to_deny_it():
    depths = (1, 2, 3, 4, 5, 7, 10)
    learns, stuck = np.full(20, 97.0), np.full(20, 11.0)
    told = judge(find("depth-3"), make_results(val_accuracy={d: stuck if d == 10 else learns for d in depths}))
    assert (told.verdict, told.claim.text) == ("reproduced", "runs under 20 % at depth 10")
    assert judge(find("depth-3"), make_results(val_accuracy=dict.fromkeys(depths, learns))).verdict == "contradicted"
    half = np.r_[learns[:10], stuck[:10]]
    told = judge(find("depth-3"), make_results(val_accuracy={d: half if d == 10 else learns for d in depths}))
    assert told.verdict == "inconclusive"


def test_what_holds_only_as_it_was_read_is_an_artefact():
    tight = np.array([-0.02, -0.01, 0, 0.01, 0.02])
    val, clean = {0: 97 + tight, 0.2: 97 + tight}, {0: 99 + tight, 0.2: 98 + tight}
    running = {0: 98 + tight, 0.2: 96 + tight}
    told = judge(find("dropout-1"), make_results(val_accuracy=val, clean_accuracy=clean, accuracy=running))
    assert (told.verdict, told.claim.text) == ("artefact", "clean training accuracy less validation at 0.2")
    clean[0.2] = 96 + tight
    told = judge(find("dropout-1"), make_results(val_accuracy=val, clean_accuracy=clean, accuracy=running))
    assert told.verdict == "reproduced"


def test_stretches_of_epochs_are_compared_within_each_run():
    seeds, late = np.array([-0.02, 0, 0.02])[:, None], (np.arange(50) >= 45)[None]
    curves = {50: 97 + seeds + 0.3 * late}
    results = make_results("mlp_epochs", 50, val_accuracy=curves, clean_accuracy=curves)
    told = judge(find("epochs-1"), results)
    assert told.verdict == "contradicted"
    assert told.estimate == Estimate(*[pytest.approx(0.3)] * 3)
    assert judge(find("epochs-3"), results).claim.text == "validation accuracy, epochs 46-50 less 10-14"


def test_what_is_missing_is_named():
    few = make_results(val_accuracy={1: [97, 98], 2: [96, 97]})
    with pytest.raises(LabError, match="depth-1: study mlp_depth has no value 3, but 1, 2"):
        judge(find("depth-1"), few)
    with pytest.raises(LabError, match="depth-1: study mlp_depth, val_accuracy of 1 needs two seeds or more"):
        judge(find("depth-1"), make_results(val_accuracy={d: [97] for d in range(1, 6)}))
    diverged = make_results("mlp_epochs", 50, val_loss={50: [1, np.nan]})
    with pytest.raises(LabError, match=r"epochs-2: study mlp_epochs, val_loss: a number is missing \(nan\)"):
        judge(find("epochs-2"), diverged)
    with pytest.raises(LabError, match="no conclusion is about mlp_breadth; there are some about mlp_depth"):
        verdicts(make_results("mlp_breadth", val_accuracy={1: [97, 98]}))
    with pytest.raises(LabError, match="difference needs two seeds or more, one number each, not the shape"):
        difference([1], [1, 2])
    with pytest.raises(LabError, match="difference needs two seeds or more"):
        difference([1, 2], [1])
    with pytest.raises(LabError, match="difference takes numbers, one a seed, not"):
        difference(["a", "b"], [1, 2])


def test_a_second_study_is_read_from_the_record(project):
    blank = dict.fromkeys(SCORES, 0.5) | {"seconds": 1.0, "value": "0.2", "epoch": 1, "machine": "x"}
    runs = [{**blank, "key": make_key(n=seed), "seed": seed, "val_accuracy": 0.974 + 0.001 * seed} for seed in range(3)]
    write_runs(project / "img" / "mlp_dropout.csv", [pd.DataFrame([run]) for run in runs])
    cnn = make_results("cnn_epochs", 12, val_accuracy={12: [98.5, 98.6, 98.7]})
    (told,) = verdicts(cnn)
    assert (told.conclusion.id, told.claim.text) == ("cnn-1", "accuracy at epoch 12")
    assert told.estimate.value == pytest.approx(98.6)
    better = make_results("mlp_dropout", val_accuracy={0.2: [99.0, 99.1, 99.2]})
    assert judge(find("cnn-1"), cnn, better).estimate.value == pytest.approx(-0.5)  # the one that is handed over


def test_there_are_nineteen_and_their_rules_read_as_prose():
    assert len({conclusion.id for conclusion in CONCLUSIONS}) == len(CONCLUSIONS) == 19
    assert find("kernel-1").rule == "3 less 9, 11, 13; 5 less 9, 11, 13; 7 less 9, 11, 13: all over 0 points"
    assert find("depth-3").rule == "runs under 20 % at depth 1, 2, 3, 4, 5, 7, 10: some over 0.5 of the runs"
    assert find("batch-2").rule == "an epoch at 64 against one at 1024: under 1.5 times"
    assert Conclusion("a", "b", (), tuple(make_claims(False, 1))).rule == "claim 0: under 0 points"


def test_every_value_is_compared_with_one():
    results = make_results(val_accuracy={value: [value, value + 1, value + 2] for value in (2, 5, 9)})
    table = compare(results, 5)
    assert table.columns.tolist() == ["validation accuracy (points) less that of 5"]
    assert table.index.name == "depth"
    assert compare(make_results(auc={1: [1, 2], 2: [3, 4]}), 1, "auc").columns.tolist() == ["auc less that of 1"]
    assert dict(table.iloc[:, 0]) == {
        "2": "-3.00 (95 % interval -5.27 to -0.73)",
        "9": "+4.00 (95 % interval +1.73 to +6.27)",
    }
    losses = compare(make_results(val_loss={1: [50, 51, 52], 2: [50.5, 51.5, 52.5]}), 1, "val_loss")
    assert losses.iloc[0, 0] == "+0.0050 (95 % interval -0.0177 to +0.0277)"
    with pytest.raises(LabError, match="mlp_depth: depth 3 is not among 2, 5, 9"):
        compare(results, 3)
    diverged = make_results(val_loss={1: [1, np.inf], 2: [1, 2]})
    with pytest.raises(LabError, match="compare: mlp_depth, depth 1, val_loss: a number is infinite"):
        compare(diverged, 2, "val_loss")


# For each rule two nulls, as the mean of each value: where one claim lies at its limit and all others hold by far, so
# that "reproduced" must be rare; and where all claims lie at their limits, so that "contradicted" must be.
EVERY_DEPTH = (1, 2, 3, 4, 5, 7, 10)
NULLS = {
    "depth-1": ({1: 90, 2: 90, 3: 80, 4: 80, 5: 80}, dict.fromkeys(range(1, 6), 90)),
    "depth-2": ({3: 90, 4: 90.2, 5: 80}, {3: 90, 4: 90.2, 5: 90.2}),
    # shares of runs that learn nothing
    "depth-3": (dict.fromkeys(EVERY_DEPTH, 0.5), {1: 0.5} | dict.fromkeys(EVERY_DEPTH[1:], 0.01)),
    "depth-4": ({1: 1, 5: 1.5},) * 2,  # seconds, as for all that end in _time
    "width-1": ({256: 90, 512: 90.2, 1024: 80, 2048: 80}, {256: 90, 512: 90.2, 1024: 90.2, 2048: 90.2}),
    "width-2": ({256: 1, 512: 1.1, 1024: 4, 2048: 8}, {256: 1, 512: 1.1, 1024: 1.1, 2048: 1.1}),
    "epochs-1": ({"val_accuracy": 0.2},) * 2,  # the rise, by metric
    "epochs-2": ({"val_loss": -0.01},) * 2,
    "epochs-3": ({"clean_accuracy": 0.2, "val_accuracy": -5}, {"clean_accuracy": 0.2, "val_accuracy": 0.2}),
    "dropout-1": (({0: 90, 0.2: 90}, {0: 90, 0.2: 80}), ({0: 90, 0.2: 90}, {0: 90, 0.2: 90})),  # validation and clean
    "dropout-2": ({0.2: 90, 0.3: 90, 0: 90, 0.1: 80, 0.4: 80}, dict.fromkeys((0, 0.1, 0.2, 0.3, 0.4), 90)),
    "dropout-3": (({0: 90, 0.2: 90}, {0: 90.2, 0.2: 90}),) * 2,
    "mlp-1": ({0.2: 97},) * 2,
    "kernel-1": ({3: 80, 5: 90, 7: 90, 9: 80, 11: 70, 13: 70}, dict.fromkeys((3, 5, 7, 9, 11, 13), 90)),
    "batch-1": (
        {32: 90, 64: 80, 128: 80, 256: 70, 512: 70, 1024: 70},
        dict.fromkeys((32, 64, 128, 256, 512, 1024), 90),
    ),
    "batch-2": ({64: 1.5, 1024: 1},) * 2,
    "loss-1": (
        {"binary_crossentropy": 90} | dict.fromkeys(LOSSES, 80) | {"poisson": 89.8},
        {"binary_crossentropy": 90} | dict.fromkeys(LOSSES, 89.8),
    ),
    "cnn-1": ({12: 99, 0.2: 90}, {12: 99, 0.2: 98}),
    "augment-1": (({"without": 90, "with": 90}, {"without": 90.2, "with": 90}),) * 2,
}


def stand_in(name, drawn):
    """What the rules ask of Results, without tables, which would take most of the time."""
    return SimpleNamespace(name=name, curves=drawn.get)


def draw(rng, conclusion, means):
    """Runs of the conclusion's studies with these means; the seeds are as many as the rules fix."""
    name = conclusion.studies[0]
    seeds = 20 if name.startswith("mlp") and not name.endswith("time") else 5

    def normal(mean, seeds=seeds):
        return rng.normal(mean, 0.1, (seeds, 1)) / 100

    if name.endswith("time"):
        seconds = {v: mean * np.exp(rng.normal(0, 0.1, (seeds, 1))) for v, mean in means.items()}
        return [stand_in(name, {"seconds": seconds})]
    if name == "mlp_epochs":
        late = np.arange(50) >= 45
        rises = {m: rng.normal(rise, 0.1, (seeds, 1)) * (1 if m == "val_loss" else 0.01) for m, rise in means.items()}
        return [stand_in(name, {metric: {50: 0.5 + late * rise} for metric, rise in rises.items()})]
    if conclusion.id == "depth-3":
        stuck = {v: rng.random((seeds, 1)) < share for v, share in means.items()}
        return [stand_in(name, {"val_accuracy": {v: np.where(s, 0.1, 0.97) for v, s in stuck.items()}})]
    if conclusion.id == "cnn-1":
        cnn, mlp = ({v: normal(means[v], n)} for v, n in ((12, 5), (0.2, 20)))
        return [stand_in(name, {"val_accuracy": cnn}), stand_in("mlp_dropout", {"val_accuracy": mlp})]
    val, clean = means if isinstance(means, tuple) else (means, means)
    val, clean = ({v: normal(mean) for v, mean in by.items()} for by in (val, clean))
    drawn = {"val_accuracy": val, "clean_accuracy": clean, "accuracy": val, "val_binary_accuracy": val}
    return [stand_in(name, drawn)]


@pytest.mark.parametrize("conclusion", CONCLUSIONS, ids=lambda conclusion: conclusion.id)
def test_no_rule_is_wrong_more_often_than_stated(conclusion, monkeypatch):
    monkeypatch.setattr("mnist_lab.judge._count_needed", lambda *_: None)  # no part of the verdict, and slow
    rng, trials = np.random.default_rng(2), 300
    rates = (0.025, 0.05) if conclusion.every else (0.05, 0.025)  # all must hold, or one of them: then corrected (Holm)
    for means, verdict, stated in zip(NULLS[conclusion.id], ("reproduced", "contradicted"), rates, strict=True):
        wrong = sum(judge(conclusion, *draw(rng, conclusion, means)).verdict == verdict for _ in range(trials))
        assert wrong <= stats.binom.ppf(0.99, trials, stated)
