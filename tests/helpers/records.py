"""Runs as they are recorded, of random numbers."""

import numpy as np
import pandas as pd

from mnist_lab.studies.record import COLUMNS

A, B, C = "0a" * 8, "1b" * 8, "2c" * 8  # keys


def make_run(key: str, epochs: int = 2, **columns) -> pd.DataFrame:
    numbers = {name: np.random.default_rng(int(key, 16) % 99).random(epochs) for name in COLUMNS[4:]}
    run = pd.DataFrame({"key": key, "value": "a, b", "seed": 0, "epoch": range(1, epochs + 1), **numbers, **columns})
    run["test_loss"] = [np.nan] * (epochs - 1) + [1 / 3]
    last_row = {"machine": "x, y", "source": f"source of {key}", "probe": "1 2"}
    return run.assign(**{name: [""] * (epochs - 1) + [text] for name, text in last_row.items()})
