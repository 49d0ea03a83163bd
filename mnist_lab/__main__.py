"""`mnist-lab`: the notebooks, re-executed from a terminal."""

import argparse
import os
import random
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from mnist_lab.errors import LabError
from mnist_lab.record import read_record


def find_project() -> Path:
    """The nearest folder upwards that holds `notebooks`. Raises LabError where there is none."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir():
            return folder
    raise LabError(f"{here}: no folder `notebooks` here or above; go to the project's folder")


def run(names: list[str], record: bool, workers: int | None, check: int | None) -> None:
    """Execute the notebooks named, or all, one after the other, and print a line for each with its time."""
    from mnist_lab.execute import execute, read_notebook  # slow to import, and the verdicts need none of it

    for option, number in (("--workers", workers), ("--check", check)):
        if number is not None and number < 1:
            raise LabError(f"{option} is {number}, but allowed is a whole number from 1")
    if check and names:
        raise LabError("--check picks from the whole record: name no notebooks")
    settings = {"MNIST_LAB_MODE": "record" if record else "replay"}
    settings |= {"MNIST_LAB_WORKERS": str(workers)} if workers else {}
    if check:
        picked = pick_runs(check)
        # so that one which no study asks for any more does not pass in silence
        print(f"picked: {'; '.join(picked.values())}", file=sys.stderr)
        settings["MNIST_LAB_CHECK"] = ",".join(picked)
    paths = [Path(name) for name in names] or sorted((find_project() / "notebooks").glob("*.ipynb"))
    if not paths:
        raise LabError(f"{os.path.relpath(find_project() / 'notebooks')}: no notebooks there")
    cells = [sum(cell.cell_type == "code" for cell in read_notebook(path).cells) for path in paths]
    with tqdm(total=sum(cells), unit="cell", leave=False, bar_format="{percentage:3.0f}%|{bar}| {desc}") as bar:
        for path in paths:
            bar.set_description_str(path.name)
            seconds = execute(path, settings, advance=bar.update)
            tqdm.write(f"{os.path.relpath(path)}: {seconds:.1f} s")


def pick_runs(count: int) -> dict[str, str]:
    """So many recorded runs, picked at random: the key of each, and which it is."""
    runs: dict[str, str] = {}
    for path in sorted((find_project() / "img").glob("*.csv")):
        if not path.name.endswith(".local.csv"):
            rows = read_record(path).drop_duplicates("key")
            told = zip(rows["key"], rows["value"], rows["seed"], strict=True)
            runs |= {key: f"{path.name}, {value}, seed {seed}" for key, value, seed in told}
    if count > len(runs):
        raise LabError(f"--check is {count}, but {len(runs)} runs are recorded")
    return {key: runs[key] for key in random.sample(sorted(runs), count)}


def clean() -> None:
    """Throw away what was trained outside the record."""
    files = sorted(path for kind in ("csv", "npz") for path in (find_project() / "img").glob(f"*.local.{kind}"))
    for file in files:
        try:
            file.unlink()
        except OSError as error:
            raise LabError(f"{os.path.relpath(file)}: cannot be removed ({error.strerror})") from None
        print(f"removed {os.path.relpath(file)}")
    if not files:
        print("nothing to remove: no img/*.local.csv")


def print_verdicts(markdown: bool) -> None:
    """Print the verdict on every conclusion of 2018, from the record alone."""
    from mnist_lab.conclusions import read_verdicts

    find_project()
    verdicts = read_verdicts()
    print(verdicts.to_markdown() if markdown else verdicts)


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit status: 0, or 1 after one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="mnist-lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute the notebooks in place: tables, and figures in img/")
    runner.add_argument("notebooks", nargs="*", help="such as notebooks/1_mlp.ipynb (default: all)")
    how = runner.add_mutually_exclusive_group()
    how.add_argument("--record", action="store_true", help="train what the record lacks, and write it to img/*.csv")
    how.add_argument(
        "--check", type=int, metavar="N", help="train N recorded runs afresh, and tell how far they differ"
    )
    runner.add_argument("--workers", type=int, help="processes that train at once (default: one a core)")
    commands.add_parser("clean", help="remove img/*.local.csv, the runs trained outside the record")
    ledger = commands.add_parser("verdicts", help="print the verdict on every conclusion of 2018, from the record")
    ledger.add_argument("--markdown", action="store_true", help="as the table that stands in the README")
    told = parser.parse_args(arguments)
    try:
        if told.command == "run":
            run(told.notebooks, told.record, told.workers, told.check)
        elif told.command == "clean":
            clean()
        else:
            print_verdicts(told.markdown)
    except LabError as error:
        print(f"mnist-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # pressed again, it would end this in another way
        print("mnist-lab: stopped; every finished run is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
