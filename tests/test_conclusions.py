import re

import numpy as np
import pandas as pd
import pytest

from mnist_lab.errors import LabError
from mnist_lab.judging.conclusions import CONCLUSIONS, verdicts
from mnist_lab.judging.judge import judge
from mnist_lab.studies.results import Results

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


@pytest.mark.parametrize("id", [id for id in BY_ID if not id.endswith("b")])  # the follow-up's: test_followup.py
def test_each_rule_turns_at_its_limit(id):
    means, changes = RULES[id]
    study = "gap" if id[:9] in ("dropout-1", "dropout-3") else BY_ID[id].studies[0]
    mlp = [make_results("mlp_dropout", val_accuracy={0.2: 97})] if id == "cnn-1" else []
    assert judge(BY_ID[id], make_study(study, means), *mlp).verdict == "reproduced"
    for value, mean in changes.items():
        assert judge(BY_ID[id], make_study(study, means | {value: mean}), *mlp).verdict == "contradicted", value


def test_the_cnn_must_be_one_point_above_the_mlp_too():
    cnn, mlp = make_results("cnn_epochs", val_accuracy={12: 99.1}), make_results("mlp_dropout", val_accuracy={0.2: 99})
    verdict = judge(BY_ID["cnn-1"], cnn, mlp)
    assert (verdict.verdict, str(verdict.claim)) == ("contradicted", "validation accuracy, CNN − MLP > 1 pp")


def test_what_is_missing_is_named():
    for study, message in (
        (make_study("mlp_depth", {1: 97, 2: 96}), "study mlp_depth: no value 3; its values are 1, 2"),
        (make_results("mlp_depth", val_accuracy=same(DEPTHS, [97])), "study mlp_depth, val_accuracy of 1: .* two"),
    ):
        verdict = verdicts(study)[0]
        assert (verdict.conclusion.id, verdict.verdict) == ("depth-1", "cannot be judged")
        assert re.search(f"estimate  {message}.*\n  verdict   cannot be judged", str(verdict))
    for study, message in (
        (make_study("mine", {1: 97}), "verdicts: no conclusion is about mine; expected one of mlp_depth"),
        ("mlp_depth", r"verdicts: expected Results, as lab.run returns them \(got str\)"),
    ):
        with pytest.raises(LabError, match=message):
            verdicts(study)
