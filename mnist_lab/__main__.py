"""`mnist-lab`: executes the notebooks from a terminal."""

import argparse
import os
import random
import signal
import sys
from pathlib import Path

from mnist_lab.errors import LabError


def run(names: list[str], record: bool, check: int | None, workers: int | None) -> bool:
    """Execute the notebooks named, or all; return whether all succeeded. Raises LabError, and KeyboardInterrupt."""
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # noted only, so that nothing interrupts the end of the kernels
        signal.signal(number, lambda number, frame: stops.append(number))
    import asyncio

    # jsonschema imports this where it can, which takes 2 s, and needs it only for addresses in other alphabets
    sys.modules.setdefault("rfc3987_syntax", None)
    from mnist_lab.execute import execute
    from mnist_lab.files import find_project

    for option, number in (("--workers", workers), ("--check", check)):
        if number is not None and number < 1:
            raise LabError(f"{option} must be an integer >= 1 (got {number})")
    if check and names:
        raise LabError("--check picks from all recorded runs: name no notebooks")
    settings = {"MNIST_LAB_MODE": "record" if record else "replay"}
    if workers:
        settings["MNIST_LAB_WORKERS"] = str(workers)
    if check:
        picked = pick_runs(check)
        # so that a run that no study asks for any more does not pass in silence
        print(f"picked: {'; '.join(picked.values())}", file=sys.stderr)
        settings["MNIST_LAB_MODE"] = f"check={','.join(picked)}"
    folder = Path(os.path.relpath(find_project() / "notebooks"))
    paths = [Path(name) for name in names] or sorted(folder.glob("*.ipynb"))
    if not paths:
        raise LabError(f"{folder}: no notebooks there; go to the project's folder")
    kernels = 1 if record or check else os.cpu_count() or 1  # training takes all cores itself
    succeeded = asyncio.run(execute(paths, settings, kernels, stops))
    if stops:
        raise KeyboardInterrupt
    return succeeded


def pick_runs(count: int) -> dict[str, str]:
    """So many recorded runs, picked at random: key -> description. Raises LabError where there are fewer."""
    from mnist_lab.files import find_images
    from mnist_lab.studies.record import read_record

    runs: dict[str, str] = {}
    for path in sorted(find_images().glob("*.csv")):
        if not path.name.endswith(".local.csv"):
            rows = read_record(path).drop_duplicates("key")
            for key, value, seed in zip(rows["key"], rows["value"], rows["seed"], strict=True):
                runs[key] = f"{path.name}, {value}, seed {seed}"
    if count > len(runs):
        raise LabError(f"--check must be at most {len(runs)}, the number of recorded runs (got {count})")
    return {key: runs[key] for key in random.sample(sorted(runs), count)}


def clean() -> None:
    """Remove the runs trained outside the record. Raises LabError where a file cannot be removed."""
    from mnist_lab.files import find_images

    paths = sorted(path for kind in ("csv", "npz") for path in find_images().glob(f"*.local.{kind}"))
    for path in paths:
        try:
            path.unlink()
        except OSError as error:
            raise LabError(f"{path}: cannot be removed ({error.strerror})") from None
        print(f"removed {path}")
    if not paths:
        print("nothing to remove: no img/*.local.csv")


def main(arguments: list[str] | None = None) -> int:
    """The command line; return its exit status: 0, 1 after a line on stderr that says what is wrong, 130 if stopped."""
    parser = argparse.ArgumentParser(prog="mnist-lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute the notebooks in place: tables, and figures in img/")
    runner.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    mode = runner.add_mutually_exclusive_group()
    mode.add_argument("--record", action="store_true", help="train what the record lacks, and add it to img/*.csv")
    mode.add_argument("--check", type=int, metavar="N", help="train N recorded runs again, and say how far they differ")
    runner.add_argument("--workers", type=int, help="processes that train at once (default: one per core)")
    commands.add_parser("clean", help="remove img/*.local.csv, the runs trained outside the record")
    verdicts = commands.add_parser("verdicts", help="print the verdict on each conclusion of 2018, from the record")
    verdicts.add_argument("--markdown", action="store_true", help="as the table in the README")
    args = parser.parse_args(arguments)
    try:
        if args.command == "run":
            return 0 if run(args.notebooks, args.record, args.check, args.workers) else 1
        if args.command == "clean":
            clean()
        else:
            from mnist_lab.verdicts.conclusions import read_verdicts

            print(read_verdicts().to_markdown() if args.markdown else read_verdicts())
    except LabError as error:
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
