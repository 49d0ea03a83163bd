"""What came out of a study: arrays to draw and judge, and a rounded table to read."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mnist_lab.errors import LabError
from mnist_lab.files import find_recorded
from mnist_lab.studies.record import is_accuracy, is_complete, is_metric, read_record, split_runs

TITLES = {
    "accuracy": "training accuracy, averaged over the epoch (%)",
    "loss": "training loss, averaged over the epoch",
    "val_accuracy": "validation accuracy (%)",
    "val_loss": "validation loss",
    "val_binary_accuracy": "validation binary accuracy (%)",
    "clean_accuracy": "training accuracy, evaluation mode (%)",
    "clean_loss": "training loss, evaluation mode",
    "test_accuracy": "test accuracy (%)",
    "test_loss": "test loss",
    "seconds": "seconds per epoch",
}


@dataclass(frozen=True, eq=False)
class Results:
    """The runs of one study. `runs` maps each value of the setting `vary` to one table of epochs for every seed.

    `probabilities` maps it to what the runs answered to the split that the study keeps, `(seeds, images, 10)`.
    """

    name: str
    vary: str
    runs: dict[object, list[pd.DataFrame]]
    probabilities: dict[object, np.ndarray] = field(default_factory=dict)

    def curves(self, metric: str) -> dict[object, np.ndarray]:
        """Map each value to an array `(seeds, epochs)` of `metric`, a column of the record. Accuracies are fractions.

        Raises LabError for a metric that was not recorded.
        """
        if not self._has(metric):
            recorded = ", ".join(filter(self._has, next(iter(self.runs.values()))[0]))
            raise LabError(f"{self.name}: no metric {metric!r} was recorded; recorded: {recorded}")
        return {value: np.array([run[metric].to_numpy(float) for run in runs]) for value, runs in self.runs.items()}

    def _has(self, metric: str) -> bool:
        columns = [run.get(metric) for runs in self.runs.values() for run in runs]
        loss = metric.endswith("loss")  # which may be nan throughout, since training can diverge
        return is_metric(metric) and not any(c is None or (c.isna().all() and not loss) for c in columns)

    def last(self, metric: str = "val_accuracy") -> dict[object, np.ndarray]:
        """Map each value to `metric` at the last epoch, a number a seed. Accuracies are fractions."""
        return {value: curves[:, -1] for value, curves in self.curves(metric).items()}

    def final(self, metric: str = "val_accuracy") -> dict[object, float]:
        """Map each value to the mean of `metric` over seeds, at the last epoch."""
        return {value: float(seeds.mean()) for value, seeds in self.last(metric).items()}

    def best(self, within: float = 0.0) -> object:
        """The first value whose mean final validation accuracy is the highest, or `within` (0.002: 0.2 pp) of it."""
        final = self.final()
        return next(value for value in final if final[value] >= np.nanmax([*final.values()]) - max(within, 0))

    def table(self, *metrics: str) -> pd.DataFrame:
        """Mean and standard deviation over seeds at the last epoch, rounded, a row a value, a column a metric."""
        rows = {str(value): {"seeds": str(len(runs))} for value, runs in self.runs.items()}
        usual = ("val_accuracy", "val_loss", "clean_accuracy", "clean_loss")
        for metric in metrics or [metric for metric in usual if self._has(metric)]:
            for value, seeds in self.last(metric).items():
                digits = 4 if metric.endswith("loss") else 2
                rows[str(value)][TITLES.get(metric, metric)] = spread(in_percent(metric, seeds), digits)
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(self.vary)

    def __repr__(self) -> str:
        return self.table().to_string()

    def _repr_html_(self) -> str:
        return self.table().to_html()


def in_percent(metric: str, values: np.ndarray) -> np.ndarray:
    """`values` of a metric as they are shown: Keras's accuracies in percent, others as they are."""
    return 100 * values if is_accuracy(metric) else values


def spread(values: np.ndarray, digits: int = 2) -> str:
    """The mean of `values` and their standard deviation, as text: "97.31 ± 0.12"."""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"


def read_results(name: str) -> Results:
    """The results of a recorded study, from its CSV alone; its values are text. Raises LabError if runs are missing."""
    path = find_recorded() / f"{name}.csv"
    grouped: dict[object, dict[int, pd.DataFrame]] = {}
    for run in split_runs(read_record(path)).values():
        value, seed = run["value"].iloc[0], run["seed"].iloc[0]
        runs = grouped.setdefault(value, {})
        if not is_complete(run) or seed in runs or any(len(other) != len(run) for other in runs.values()):
            fault = "epochs are missing, or another run of this value has this seed or another length"
            raise LabError(f"{path}: value {value}, seed {seed}: {fault}; train it again: mnist-lab run --record")
        runs[seed] = run
    if not grouped:
        raise LabError(f"{path}: no recorded run; train: mnist-lab run --record")
    return Results(name, "value", {value: [*runs.values()] for value, runs in grouped.items()})
