"""`mnist-lab`: executes the notebooks from a terminal."""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import mnist_lab
from mnist_lab.errors import LabError
from mnist_lab.files import find_images, find_notebooks, find_project


def run(names: list[str], mode: str, workers: int | None, cluster: str | None) -> bool:
    """Execute the notebooks named, or all; return whether all succeeded. Raises LabError, and KeyboardInterrupt."""
    stops: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # noted only, so that nothing interrupts the end of the kernels
        signal.signal(number, lambda number, frame: stops.append(number))
    from mnist_lab.execute import execute

    given = {"MNIST_LAB_MODE": mode, "MNIST_LAB_WORKERS": workers, "MNIST_LAB_CLUSTER": cluster}
    settings = {name: str(value) for name, value in given.items() if value is not None}
    kernels = (os.cpu_count() or 1) if mode == "replay" else 1  # training takes all cores itself
    succeeded = asyncio.run(execute(find_notebooks(names), settings, kernels, stops))
    if stops:
        raise KeyboardInterrupt
    return succeeded


def dry_run(names: list[str], *options) -> bool:
    """Print what is missing, in a copy of the project; not what needs the results of something that is missing."""
    project = find_project().resolve()
    names = [os.path.relpath(name, project) for name in names]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for part in ("img", "notebooks"):
            shutil.copytree(project / part, part, ignore=shutil.ignore_patterns(".*", "*.local.*"))
        return run(names, *options)


def clean() -> None:
    """Remove what was trained and drawn outside the record; name the files of the project that have changed."""
    paths = sorted(p for p in find_images().glob("*.local.*") if p.suffix in (".csv", ".npz", ".json", ".png", ".svg"))
    for path in paths:
        path.unlink()
    print("\n".join(f"removed {path}" for path in paths) or "nothing to remove: no img/*.local.*")
    if shutil.which("git"):
        status = ["git", "status", "--short", "img", "notebooks"]
        changed = subprocess.run(status, cwd=find_project(), capture_output=True, text=True).stdout
        print("changed since the last commit; to undo: git checkout img notebooks\n" * bool(changed), end=changed)


def main(arguments: list[str] | None = None) -> int:
    """The command line; return its exit status: 0, 1 after a line on stderr that says what is wrong, 130 if stopped."""
    parser = argparse.ArgumentParser(prog="mnist-lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute notebooks in place, from recorded runs; figures go to img/")
    runner.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    mode = runner.add_mutually_exclusive_group()
    to_mode = {"dest": "mode", "action": "store_const", "default": "replay"}
    mode.add_argument("--record", const="record", **to_mode, help="train what img/*.csv lack, and add it to them")
    mode.add_argument("--prune", const="prune", **to_mode, help="as --record, and delete runs that no study uses")
    mode.add_argument("--dry-run", const="dry-run", **to_mode, help="say what --record would train, and how long")
    runner.add_argument("--workers", type=int, help="processes that train at once (default: one per core)")
    runner.add_argument("--cluster", metavar="ADDRESS", help="train on this Dask cluster, such as tcp://host:8786")
    commands.add_parser("clean", help="delete your own runs and figures, img/*.local.*")
    handout = commands.add_parser("handout", help="write handouts/: pages with answers, notebooks and pages without")
    handout.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    commands.add_parser("verdicts", help="print the verdict on each conclusion of 2018, from the record")
    args = parser.parse_args(arguments)
    try:
        if args.command == "verdicts":
            print(mnist_lab.read_verdicts())
        elif args.command == "handout":
            from mnist_lab.handout import write_handouts

            write_handouts(args.notebooks)
        elif args.command == "clean":
            clean()
        else:
            execute = dry_run if args.mode == "dry-run" else run
            return 0 if execute(args.notebooks, args.mode, args.workers, args.cluster) else 1
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
