"""Trains recorded runs again, picked at random, in a copy of the project: `python tests/benchmarks/recheck.py 5`.

Prints how far each comes out from the record. On the kind of CPU that the record names: equal to the last bit.
"""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

from mnist_lab.__main__ import run
from mnist_lab.studies.record import is_metric, read_record, split_runs

ROOT = Path(__file__).parents[2]


def recheck(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for part in ("img", "notebooks"):
            shutil.copytree(ROOT / part, Path(folder, part), ignore=shutil.ignore_patterns(".*", "*.local.*"))
        os.chdir(folder)
        records = {path: read_record(path) for path in sorted(Path("img").glob("*.csv"))}
        keys = sorted({key for rows in records.values() for key in rows["key"]})
        picked = random.sample(keys, count)
        for path, rows in records.items():
            rows[~rows["key"].isin(picked)].to_csv(path, index=False, na_rep="nan")
        run([], "record", None, None)
        for path, rows in records.items():
            fresh = split_runs(read_record(path))
            for key, old in split_runs(rows[rows["key"].isin(picked)]).items():
                scores = [name for name in old if is_metric(name) and name != "seconds"]
                message = "no notebook asks for it"
                if key in fresh:
                    now, then = (table[scores].fillna(-1).to_numpy() for table in (fresh[key], old))
                    gap = pd.Series(abs(now - then).max(axis=0), scores)
                    message = f"{gap.idxmax()} differs by up to {max(gap):.2g}" if any(gap) else "equal to the last bit"
                print(f"{path.stem}, {old['value'].iloc[0]}, seed {old['seed'].iloc[0]}: {message}")


if __name__ == "__main__":
    recheck(int(sys.argv[1]))
