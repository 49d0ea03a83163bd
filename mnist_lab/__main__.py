"""`mnist-lab`: executes the notebooks from a terminal."""

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from mnist_lab.errors import LabError
from mnist_lab.files import find_images, find_project


def run(names: list[str], mode: str, workers: int | None) -> bool:
    """Execute the notebooks named, or all; return whether all succeeded. Raises LabError, and KeyboardInterrupt."""
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # noted only, so that nothing interrupts the end of the kernels
        signal.signal(number, lambda number, frame: stops.append(number))
    # jsonschema imports this where it can, which takes 2 s, and needs it only for addresses in other alphabets
    sys.modules.setdefault("rfc3987_syntax", None)
    from mnist_lab.execute import execute

    folder = Path(os.path.relpath(find_project() / "notebooks"))
    paths = [Path(name) for name in names] or sorted(folder.glob("*.ipynb"))
    if not paths:
        raise LabError(f"{folder}: no notebooks there; go to the project's folder")
    settings = {"MNIST_LAB_MODE": mode} | ({"MNIST_LAB_WORKERS": str(workers)} if workers else {})
    kernels = (os.cpu_count() or 1) if mode == "replay" else 1  # training takes all cores itself
    succeeded = asyncio.run(execute(paths, settings, kernels, stops))
    if stops:
        raise KeyboardInterrupt
    return succeeded


def check(count: int, workers: int | None) -> bool:
    """Train recorded runs again, picked at random, in a copy of the project; print how far they come out otherwise."""
    import pandas as pd

    from mnist_lab.studies.record import is_metric, read_record, split_runs

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(find_project()):
        for part in ("img", "notebooks"):
            shutil.copytree(part, Path(folder, part), ignore=shutil.ignore_patterns(".*", "*.local.*"))
        os.chdir(folder)
        records = {path: read_record(path) for path in sorted(find_images().glob("*.csv"))}
        keys = sorted({key for rows in records.values() for key in rows["key"]})
        if count > len(keys):
            raise LabError(f"--check must be at most {len(keys)}, the number of recorded runs (got {count})")
        picked = random.sample(keys, count)
        for path, rows in records.items():
            rows[~rows["key"].isin(picked)].to_csv(path, index=False, na_rep="nan")
        succeeded = run([], "record", workers)
        for path, rows in records.items():
            fresh = split_runs(read_record(path))
            for key, old in split_runs(rows[rows["key"].isin(picked)]).items():
                scores = [name for name in old if is_metric(name) and name != "seconds"]
                message = "no notebook asks for it"
                if key in fresh:
                    now, then = (run[scores].fillna(-1).to_numpy() for run in (fresh[key], old))
                    gap = pd.Series(abs(now - then).max(axis=0), scores)
                    message = f"{gap.idxmax()} differs by up to {max(gap):.2g}" if any(gap) else "equal to the last bit"
                print(f"{path.stem}, {old['value'].iloc[0]}, seed {old['seed'].iloc[0]}: {message}")
        return succeeded


def clean() -> None:
    """Remove what was trained and drawn outside the record; name the files of the project that have changed."""
    paths = sorted(path for kind in ("csv", "npz", "json", "png") for path in find_images().glob(f"*.local.{kind}"))
    for path in [*paths, *find_images().glob(".*.lock")]:
        path.unlink()
        if path in paths:
            print(f"removed {path}")
    if not paths:
        print("nothing to remove: no img/*.local.*")
    if shutil.which("git"):
        status = ["git", "status", "--short", "img", "notebooks"]
        changed = subprocess.run(status, cwd=find_project(), capture_output=True, text=True).stdout
        print("changed, and left so; to restore: git checkout img notebooks\n" * bool(changed), end=changed)


def main(arguments: list[str] | None = None) -> int:
    """The command line; return its exit status: 0, 1 after a line on stderr that says what is wrong, 130 if stopped."""
    parser = argparse.ArgumentParser(prog="mnist-lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute the notebooks in place: tables, and figures in img/")
    runner.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    mode = runner.add_mutually_exclusive_group()
    record = {"dest": "mode", "action": "store_const", "default": "replay"}
    mode.add_argument("--record", const="record", **record, help="train what the record lacks, and add it to img/*.csv")
    mode.add_argument("--prune", const="prune", **record, help="the same, and drop what no study asks for any more")
    mode.add_argument("--check", type=int, metavar="N", help="train N recorded runs again, and say how far they differ")
    runner.add_argument("--workers", type=int, help="processes that train at once (default: one per core)")
    commands.add_parser("clean", help="remove img/*.local.*, runs and figures that are not of the record")
    commands.add_parser("verdicts", help="print the verdict on each conclusion of 2018, from the record")
    args = parser.parse_args(arguments)
    try:
        for option in ("check", "workers"):
            number = getattr(args, option, None)
            if number is not None and number < 1:
                raise LabError(f"--{option} must be an integer >= 1 (got {number})")
        if args.command == "verdicts":
            from mnist_lab.verdicts.conclusions import read_verdicts

            print(read_verdicts())
        elif args.command == "clean":
            clean()
        elif args.check and args.notebooks:
            raise LabError("--check picks from all recorded runs: name no notebooks")
        elif args.check:
            return 0 if check(args.check, args.workers) else 1
        else:
            return 0 if run(args.notebooks, args.mode, args.workers) else 1
    except (LabError, OSError) as error:
        print(f"mnist-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):  # sent once more, it would end this with another message
            signal.signal(number, signal.SIG_IGN)
        print("mnist-lab: stopped; every finished run is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
