import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_lab.errors import LabError
from mnist_lab.judging.conclusions import CONCLUSIONS, read_verdicts, verdicts
from mnist_lab.judging.judge import judge
from mnist_lab.studies.results import Results, read_results

ROOT = Path(__file__).parents[1]
LOSSES = ["categorical_crossentropy", "mean_squared_error", "mean_absolute_error", "categorical_hinge", "poisson"]
BY_ID = {conclusion.id: conclusion for conclusion in CONCLUSIONS}


def make_results(name, epochs=1, **metrics):
    """Per value a mean, which six seeds are 0.001 around, or a list of one number per seed; accuracies in percent.

    With 50 epochs, the mean is by how much the last five are above the others.
    """

    def make_run(metric, number, seed):
        number = number[seed] if isinstance(number, list) else number + 0.001 * (seed % 3 - 1)
        number = number / 100 if metric.endswith("accuracy") else number
        return np.full(epochs, number) if epochs < 50 else 0.5 + number * (np.arange(50) >= 45)

    values = next(iter(metrics.values()))
    seeds = range(next((len(number) for number in values.values() if isinstance(number, list)), 6))
    runs = {
        v: [pd.DataFrame({m: make_run(m, metrics[m][v], seed) for m in metrics}).assign(seed=seed) for seed in seeds]
        for v in values
    }
    return Results(name, "value", runs)


def make_study(name, means):
    """Results of a study with these means of what its rule is about."""
    if name == "mlp_epochs":
        return make_results(name, 50, **{metric: {50: change} for metric, change in means.items()})
    if name.endswith("_time"):
        return make_results(name, seconds=means)
    if name == "gap" or "with" in means:
        return make_results("augmentation", val_accuracy=same(means, 90), clean_accuracy=means, accuracy=means)
    return make_results(name, val_accuracy=means, val_binary_accuracy=dict.fromkeys(means, 80))


same = dict.fromkeys
DEPTHS, WIDTHS, KERNELS, BATCHES = (1, 2, 3, 4, 5, 7, 10), (512, 1024, 2048), (9, 11, 13), (128, 256, 512, 1024)
# For each conclusion: the means that just reproduce it, and the changes of one mean that contradict it.
RULES = {
    "depth-1": ({1: 90} | same((2, 3, 4, 5), 89.9), same((2, 3, 4, 5), 90.1)),
    "depth-2": ({3: 90, 4: 90.1, 5: 90.1}, {4: 90.3, 5: 90.3}),
    "depth-3": (same(DEPTHS, [90] * 8) | {10: [19] * 8}, {10: [21] * 8}),
    "depth-4": ({1: 1, 5: 1.6}, {5: 1.4}),
    "width-1": ({256: 90} | same(WIDTHS, 90.1), same(WIDTHS, 90.3)),
    "width-2": ({256: 1} | same(WIDTHS, 1.2), same(WIDTHS, 1.05)),
    "epochs-1": ({"val_accuracy": 0.1}, {"val_accuracy": 0.3}),
    "epochs-2": ({"val_loss": -0.005}, {"val_loss": -0.015}),
    "epochs-3": ({"clean_accuracy": 0.3, "val_accuracy": 0.1}, {"clean_accuracy": 0.1, "val_accuracy": 0.3}),
    "dropout-1": ({0: 90.1, 0.2: 89.9}, {0: 89.9, 0.2: 90.1}),  # training accuracies, where validation has 90
    "dropout-2": ({0.2: 90, 0.3: 90.2} | same((0, 0.1, 0.4), 90), same((0, 0.1, 0.4), 90.4)),
    "dropout-3": ({0: 90.3, 0.2: 90}, {0: 90.1}),
    "mlp-1": ({0.2: 97.1}, {0.2: 96.9}),
    "kernel-1": (same((3, 5, 7), 90) | same(KERNELS, 89.9), same(KERNELS, 90.1) | same((3, 5, 7), 89)),
    "batch-1": (same((32, 64), 90) | same(BATCHES, 89.9), same(BATCHES, 90.1) | same((32, 64), 89)),
    "batch-2": ({64: 1.4, 1024: 1}, {64: 1.6}),
    "loss-1": ({"binary_crossentropy": 90} | same(LOSSES, 89.7), same(LOSSES, 89.9)),
    "cnn-1": ({12: 99.1}, {12: 98.9}),
    "augment-1": ({"without": 90.3, "with": 90}, {"without": 90.1}),
}


@pytest.mark.parametrize("id", RULES)
def test_each_rule_turns_at_its_limit(id):
    means, changes = RULES[id]
    study = "gap" if id[:9] in ("dropout-1", "dropout-3") else BY_ID[id].studies[0]
    mlp = [make_results("mlp_dropout", val_accuracy={0.2: 97})] if id == "cnn-1" else []
    assert judge(BY_ID[id], make_study(study, means), *mlp).verdict == "reproduced"
    for value, mean in changes.items():
        assert judge(BY_ID[id], make_study(study, means | {value: mean}), *mlp).verdict == "contradicted", value


def test_an_artefact_holds_only_with_the_accuracy_read_in_2018():
    """Keras's training accuracy is an average over the epoch; its accuracy of binary cross-entropy was binary."""
    accuracy = {"val_accuracy": {0: 90, 0.2: 90}, "accuracy": {0: 91, 0.2: 89}, "clean_accuracy": {0: 91, 0.2: 91}}
    found = [judge(BY_ID["dropout-1"], make_results("mlp_dropout", **accuracy))]
    means = same(RULES["loss-1"][0], 90)
    read = make_results("cnn_loss", val_accuracy=means, val_binary_accuracy=same(means, 99))
    found.append(judge(BY_ID["loss-1"], read))
    assert [verdict.texts["verdict"] for verdict in found] == ["contradicted; an artefact of how it was read"] * 2


def test_estimates_are_what_their_claims_say():
    rates = make_results("mlp_dropout", val_accuracy={0: 80, 0.1: 80, 0.2: 90, 0.3: 92, 0.4: 90})
    pooled = judge(BY_ID["dropout-2"], rates)
    assert (pooled.estimate.value, pooled.estimate.seeds) == (pytest.approx(1), 6)
    assert str(pooled.claim) == "validation accuracy, mean of dropout 0.2 and 0.3 − dropout 0.4 > 0 pp"
    stuck = make_results("mlp_depth", val_accuracy=same(DEPTHS, 97) | {7: [10] * 15 + [97] * 5})
    shown = judge(BY_ID["depth-3"], stuck)
    assert (str(shown.claim)[-14:], shown.estimate.value) == ("depth 7 > 50 %", 75)
    late = make_study("mlp_epochs", {"clean_accuracy": 0.5, "val_accuracy": 0.3})
    assert judge(BY_ID["epochs-3"], late).estimate.value == pytest.approx(0.3)


def test_the_record_gives_these_verdicts(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = {v.conclusion.id: v.verdict for pair in read_verdicts() for v in (pair, pair.followup) if v}
    expected = same(RULES, "reproduced")
    expected |= same(["depth-1", "depth-2", "dropout-2", "dropout-3", "batch-1"], "inconclusive")
    expected |= same(["epochs-1", "epochs-3", "dropout-1", "kernel-1", "loss-1"], "contradicted")
    expected |= same(["dropout-1b", "dropout-3b", "epochs-1b", "epochs-3b", "kernel-1b", "loss-1b"], "contradicted")
    expected |= same(["depth-2b", "batch-1b"], "reproduced")
    expected |= same(["depth-1b", "dropout-2b"], "no difference that matters")
    assert found == expected


def test_the_follow_up_has_the_seeds_that_were_fixed_before(monkeypatch):
    monkeypatch.chdir(ROOT)
    fixed = [("dropout", 5, 100), ("depth", 5, 100), ("epochs", 1, 60)]
    fixed += [("kernel", 2, 16), ("batch", 3, 20), ("loss", 2, 15)]
    for name, values, count in fixed:
        seeds = [[run["seed"].iloc[0] for run in runs] for runs in read_results(f"followup_{name}").runs.values()]
        assert seeds == [[*range(100, 100 + count)]] * values


def test_a_second_study_is_read_from_the_record_unless_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    cnn = make_results("cnn_epochs", val_accuracy={12: 99.1})
    assert [verdict.verdict for verdict in verdicts(cnn)] == ["reproduced"]
    as_good = make_results("mlp_dropout", val_accuracy={0.2: 99})
    verdict = judge(BY_ID["cnn-1"], cnn, as_good)
    assert (verdict.verdict, str(verdict.claim)) == ("contradicted", "validation accuracy, CNN − MLP > 1 pp")


def test_what_is_missing_is_named():
    for study, message in (
        (make_study("mlp_depth", {1: 97, 2: 96}), "study mlp_depth: no value 3; its values are 1, 2"),
        (
            make_results("mlp_depth", val_accuracy=same(DEPTHS, [97])),
            "study mlp_depth, val_accuracy of 1: .* two seeds",
        ),
    ):
        verdict = verdicts(study)[0]
        assert (verdict.conclusion.id, verdict.verdict) == ("depth-1", "cannot be judged")
        assert re.search(f"estimate  {message}.*\n  verdict   cannot be judged", str(verdict))
    diverged = make_results("mlp_epochs", 50, val_loss={50: [1, np.nan]}, val_accuracy={50: [0, 0.1]})
    assert [verdict.verdict for verdict in verdicts(diverged)][1:] == ["cannot be judged"] * 2  # and one is judged
    for study, message in (
        (make_study("mine", {1: 97}), "verdicts: no conclusion is about mine; expected one of mlp_depth"),
        ("mlp_depth", r"verdicts: expected Results, as lab.run returns them \(got str\)"),
    ):
        with pytest.raises(LabError, match=message):
            verdicts(study)
