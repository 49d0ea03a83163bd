"""What the tests share: few digits, a folder of their own to record in, and results."""

import numpy as np
import pandas as pd
import pytest

from mnist_lab.data import Digits, load_digits
from mnist_lab.studies.results import Results


@pytest.fixture(scope="session")
def flat():
    return load_digits("flat")


@pytest.fixture(scope="session")
def few(flat):
    return Digits(flat.train[:500], flat.val[:200], flat.test[:200])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, in which runs are trained as a student's would be."""
    for folder in ("img", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "img" / "sources.json").write_text("{}")  # it has a record, without runs
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_LAB_MODE", "local")
    return tmp_path


@pytest.fixture
def results():
    """Two values, three seeds, two epochs; the validation accuracies of value 5 are 98.0 to 98.2 %, then 0.3 higher."""

    def make_run(value, seed):
        accuracy = 0.97 + 0.002 * value + 0.001 * seed + np.array([0, 0.003])
        scores = {"val_accuracy": accuracy, "val_loss": 1 - accuracy, "test_accuracy": [np.nan, accuracy[1] - 0.1]}
        return pd.DataFrame(scores | {"clean_accuracy": accuracy + 0.005, "clean_loss": 0.9 - accuracy / 2})

    return Results("s", "depth", {value: [make_run(value, seed) for seed in range(3)] for value in (1, 5)})
