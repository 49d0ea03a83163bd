"""The follow-up on fresh seeds: what stayed open, judged by rules that were fixed before any of its runs.

Differences are taken per seed. For depth it is their median, since some runs learn nothing.
"""

from mnist_lab.verdicts.conclusions import (
    AT_CHANCE,
    BINARY,
    GAP,
    NO_BETTER,
    accuracy,
    accuracy_2018,
    at_chance,
    claims,
    gap,
    gap_turns,
    late_change,
    paired,
)
from mnist_lab.verdicts.judge import MATTERS, Conclusion
from mnist_lab.verdicts.stats import median, share

CATEGORICAL = ["categorical_crossentropy"]
VAL_ACCURACY, CLEAN_ACCURACY = "validation accuracy", "training accuracy (evaluation mode)"
FOLLOWUP = (
    Conclusion(
        "depth-1b",
        "one hidden layer is the best of 1 to 5, for the typical run",
        ["followup_depth"],
        paired("median of depth {} − depth {}", accuracy, [1], [2, 3, 4, 5], estimate=median),
        equal=True,
    ),
    Conclusion(
        "depth-2b",
        "beyond three layers, more bring nothing, typically",
        ["followup_depth"],
        paired("median of depth {} − depth {}", accuracy, [4, 5], [3], estimate=median, **NO_BETTER),
    ),
    Conclusion(
        "depth-5s",
        "five layers may learn nothing",
        ["followup_depth"],
        claims(AT_CHANCE, at_chance, [5], estimate=share, unit="%"),
        judged=False,
    ),
    Conclusion(
        "dropout-1b",
        "without dropout training is above validation; with it, below",
        ["followup_dropout"],
        gap_turns("clean_accuracy"),
        as_read=gap_turns("accuracy"),
    ),
    Conclusion(
        "dropout-2b",
        "0.2 and 0.3 are the best rates",
        ["followup_dropout"],
        paired("mean of dropout 0.2 and 0.3 − dropout {1}", accuracy, [(0.2, 0.3)], [0, 0.1, 0.4]),
        equal=True,
    ),
    Conclusion(
        "dropout-3b",
        "dropout prevents overfitting: it takes away more than half of the gap",
        ["followup_dropout"],
        paired(f"{GAP}, dropout {{}} − half of it at dropout {{}}", gap, [0.2], [0], weights=(1, -0.5), above=False),
        narrows=paired(f"{GAP}, dropout {{}} − dropout {{}}", gap, [0], [0.2]),
    ),
    Conclusion(
        "batch-1b",
        "batches of 32 and 64 are best",
        ["followup_batch"],
        paired("batch {} − batch {}", accuracy, [32, 64], [128]),
        equal=True,
    ),
    Conclusion(
        "kernel-1b",
        "kernel 3 is not behind kernel 9",
        ["followup_kernel"],
        paired("kernel {} − kernel {}", accuracy, [3], [9]),
        equal=True,
    ),
    Conclusion(
        "loss-1b",
        "binary cross-entropy is better than categorical by more than matters",
        ["followup_loss"],
        paired("{} − {}", accuracy, BINARY, CATEGORICAL, limit=MATTERS),
        as_read=paired("{} − {}", accuracy_2018, BINARY, CATEGORICAL, limit=MATTERS),
    ),
    Conclusion(
        "epochs-1b",
        "after a dozen epochs accuracy stops improving",
        ["followup_epochs"],
        late_change(VAL_ACCURACY, "val_accuracy", **NO_BETTER),
    ),
    Conclusion(
        "epochs-3b",
        "after a dozen epochs it overfits",
        ["followup_epochs"],
        late_change(CLEAN_ACCURACY, "clean_accuracy", limit=MATTERS)
        + late_change(VAL_ACCURACY, "val_accuracy", **NO_BETTER),
    ),
)
