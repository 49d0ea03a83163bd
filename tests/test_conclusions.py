from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mnist_lab.errors import LabError
from mnist_lab.studies.results import Results
from mnist_lab.verdicts.conclusions import CONCLUSIONS, LOSSES, read_verdicts, verdicts
from mnist_lab.verdicts.judge import judge

ROOT = Path(__file__).parents[1]
BY_ID = {conclusion.id: conclusion for conclusion in CONCLUSIONS}


def make_results(name, epochs=1, **metrics):
    """Results of eight seeds about 0.001 apart, from a mean for each value, in percent unless it is a loss or a time.

    A list has one number per seed. With 50 epochs, the number is by how much the last five are above the others.
    """

    def make_run(metric, number, seed):
        number = number[seed] if isinstance(number, list) else number + 0.001 * (seed % 3 - 1)
        number = number if metric in ("seconds", "val_loss") else number / 100
        return np.full(epochs, number) if epochs < 50 else 0.5 + number * (np.arange(50) >= 45)

    values = next(iter(metrics.values()))
    seeds = range(next((len(number) for number in values.values() if isinstance(number, list)), 8))
    return Results(
        name,
        "value",
        {v: [pd.DataFrame({m: make_run(m, metrics[m][v], seed) for m in metrics}) for seed in seeds] for v in values},
    )


def accuracies(study, **others):
    """By value, results that just fulfil a rule, and the change to one value that contradicts it."""
    return lambda means: make_results(study, val_accuracy=means, **others)


def gaps(study):
    return lambda means: make_results(
        study, val_accuracy=dict.fromkeys(means, 90), clean_accuracy=means, accuracy=means
    )


def times(study):
    return lambda means: make_results(study, seconds=means)


def late(means):
    return make_results("mlp_epochs", 50, **{metric: {50: rise} for metric, rise in means.items()})


DEPTHS = (1, 2, 3, 4, 5, 7, 10)
BEST_LOSS = {"binary_crossentropy": 90} | dict.fromkeys(LOSSES, 89.7)
# For each conclusion: how results are made, what just reproduces it, and which changes of one number contradict it.
RULES = {
    "depth-1": (accuracies("mlp_depth"), {1: 90} | dict.fromkeys((2, 3, 4, 5), 89.9), {d: 90.1 for d in (2, 3, 4, 5)}),
    "depth-2": (accuracies("mlp_depth"), {3: 90, 4: 90.1, 5: 90.1}, {4: 90.3, 5: 90.3}),
    "depth-3": (accuracies("mlp_depth"), dict.fromkeys(DEPTHS, 90) | {10: 19}, {10: 21}),
    "depth-4": (times("mlp_depth_time"), {1: 1, 5: 1.6}, {5: 1.4}),
    "width-1": (
        accuracies("mlp_width"),
        {256: 90, 512: 90.1, 1024: 90.1, 2048: 90.1},
        {512: 90.3, 1024: 90.3, 2048: 90.3},
    ),
    "width-2": (times("mlp_width_time"), {256: 1, 512: 1.2, 1024: 1.2, 2048: 1.2}, {512: 1.05, 1024: 1.05, 2048: 1.05}),
    "epochs-1": (late, {"val_accuracy": 0.1}, {"val_accuracy": 0.3}),
    "epochs-2": (late, {"val_loss": -0.005}, {"val_loss": -0.015}),
    "epochs-3": (late, {"clean_accuracy": 0.3, "val_accuracy": 0.1}, {"clean_accuracy": 0.1, "val_accuracy": 0.3}),
    "dropout-1": (gaps("mlp_dropout"), {0: 90.1, 0.2: 89.9}, {0: 89.9, 0.2: 90.1}),
    "dropout-2": (
        accuracies("mlp_dropout"),
        {0: 90, 0.1: 90, 0.2: 90, 0.3: 90.2, 0.4: 90},
        {0: 90.2, 0.1: 90.2, 0.4: 90.2},
    ),
    "dropout-3": (gaps("mlp_dropout"), {0: 90.3, 0.2: 90}, {0: 90.1}),
    "mlp-1": (accuracies("mlp_dropout"), {0.2: 97.1}, {0.2: 96.9}),
    "kernel-1": (
        accuracies("cnn_kernel"),
        {3: 90, 5: 90, 7: 90, 9: 89.9, 11: 89.9, 13: 89.9},
        {9: 90.1, 11: 90.1, 13: 90.1, 3: 89, 5: 89, 7: 89},
    ),
    "batch-1": (
        accuracies("cnn_batch"),
        {32: 90, 64: 90} | dict.fromkeys((128, 256, 512, 1024), 89.9),
        dict.fromkeys((128, 256, 512, 1024), 90.1) | {32: 89, 64: 89},
    ),
    "batch-2": (times("cnn_batch_time"), {64: 1.4, 1024: 1}, {64: 1.6}),
    "loss-1": (
        accuracies("cnn_loss", val_binary_accuracy=dict.fromkeys(BEST_LOSS, 80)),
        BEST_LOSS,
        dict.fromkeys(LOSSES, 89.9),
    ),
    "cnn-1": (accuracies("cnn_epochs"), {12: 99.1}, {12: 98.9}),
    "augment-1": (gaps("augmentation"), {"without": 90.3, "with": 90}, {"without": 90.1}),
}


@pytest.mark.parametrize("id", BY_ID)
def test_each_rule_turns_at_its_limit(id):
    make, means, changes = RULES[id]
    mlp = [make_results("mlp_dropout", val_accuracy={0.2: 97})] if id == "cnn-1" else []
    assert judge(BY_ID[id], make(means), *mlp).verdict == "reproduced"
    for value, number in changes.items():
        assert judge(BY_ID[id], make(means | {value: number}), *mlp).verdict == "contradicted", value


def test_an_artefact_holds_only_with_the_accuracy_read_in_2018():
    """Keras's training accuracy is an average over the epoch; its accuracy of binary cross-entropy was binary."""
    accuracy = {"val_accuracy": {0: 90, 0.2: 90}, "accuracy": {0: 91, 0.2: 89}, "clean_accuracy": {0: 91, 0.2: 91}}
    assert judge(BY_ID["dropout-1"], make_results("mlp_dropout", **accuracy)).verdict == "artefact"
    means = dict.fromkeys(BEST_LOSS, 90)
    read = make_results("cnn_loss", val_accuracy=means, val_binary_accuracy=dict.fromkeys(means, 99))
    assert judge(BY_ID["loss-1"], read).verdict == "artefact"


def test_estimates_are_what_their_claims_say():
    pooled = judge(
        BY_ID["dropout-2"], make_results("mlp_dropout", val_accuracy={0: 80, 0.1: 80, 0.2: 90, 0.3: 92, 0.4: 90})
    )
    assert (pooled.estimate.value, pooled.estimate.seeds) == (pytest.approx(1), 8)
    assert str(pooled.claim) == "mean of dropout 0.2 and 0.3 − dropout 0.4 > 0 pp"
    stuck = make_results("mlp_depth", val_accuracy=dict.fromkeys(DEPTHS, 97) | {7: [10] * 15 + [97] * 5})
    shown = judge(BY_ID["depth-3"], stuck)
    assert (str(shown.claim), shown.estimate.value) == ("share of runs below 20 % accuracy at depth 7 > 50 %", 75)
    epochs = make_results("mlp_epochs", 50, clean_accuracy={50: 0.5}, val_accuracy={50: 0.3})
    assert judge(BY_ID["epochs-3"], epochs).estimate.value == pytest.approx(0.3)


def test_the_record_gives_these_verdicts(monkeypatch):
    monkeypatch.chdir(ROOT)
    by_verdict = {}
    for verdict in read_verdicts():
        by_verdict.setdefault(verdict.verdict, []).append(verdict.conclusion.id)
    assert len(BY_ID) == len(CONCLUSIONS) == 19
    assert by_verdict == {
        "inconclusive": ["depth-1", "depth-2", "dropout-2", "dropout-3", "batch-1"],
        "reproduced": "depth-3 depth-4 width-1 width-2 epochs-2 mlp-1 batch-2 cnn-1 augment-1".split(),
        "contradicted": ["epochs-1", "epochs-3", "dropout-1", "kernel-1"],
        "artefact": ["loss-1"],
    }


def test_a_second_study_is_read_from_the_record_unless_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    cnn = make_results("cnn_epochs", val_accuracy={12: 99.1})
    assert [verdict.verdict for verdict in verdicts(cnn)] == ["reproduced"]
    as_good = make_results("mlp_dropout", val_accuracy={0.2: 99})
    verdict = judge(BY_ID["cnn-1"], cnn, as_good)
    assert (verdict.verdict, str(verdict.claim)) == ("contradicted", "CNN − MLP > 1 pp")


def test_what_is_missing_is_named():
    few = {1: 97, 2: 96}
    for study, message in (
        (make_results("mlp_depth", val_accuracy=few), "depth-1: study mlp_depth: no value 3; its values are 1, 2"),
        (
            make_results("mlp_depth", val_accuracy={d: [97] for d in DEPTHS}),
            "depth-1: study mlp_depth, val_accuracy of 1: .* two seeds",
        ),
        (
            make_results("mlp_epochs", 50, val_loss={50: [1, np.nan]}, val_accuracy={50: 0}),
            r"epochs-2: study mlp_epochs, val_loss: a number is missing \(nan\)",
        ),
        (
            make_results("mlp_breadth", val_accuracy=few),
            "no 2018 conclusion to check in study mlp_breadth; expected one of mlp_depth",
        ),
        ("mlp_depth", "verdicts: expected Results, as lab.run returns, got str"),
    ):
        with pytest.raises(LabError, match=message):
            verdicts(study)
