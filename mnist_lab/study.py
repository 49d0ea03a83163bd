"""A study is one question put to many runs: `Study` says which, `run` finds them in the record or trains them."""

import inspect
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from mnist_lab.data import Digits, Split, check_whole, is_whole
from mnist_lab.describe import describe_model
from mnist_lab.errors import LabError
from mnist_lab.record import (
    COLUMNS,
    MACHINE,
    TEXT,
    WHOLE,
    check_writable,
    digest_data,
    find_folder,
    find_run,
    make_key,
    read_probabilities,
    read_record,
    write_probabilities,
    write_runs,
)
from mnist_lab.results import Results
from mnist_lab.start import build_seeded
from mnist_lab.train import build_model, flatten
from mnist_lab.workers import CLEAN, Configuration, train_all

FIT_SETTINGS = {"epochs": 1, "batch_size": 32, "train_size": None}  # Keras's own defaults
TRAINING = 1  # raised when a change to this package changes the bits of a run: no older run is then taken for a new one


@dataclass(frozen=True, eq=False)
class Study:
    """One question: what does the setting `vary` do, over the values `over`, for every seed in `seeds`?

    `build(**settings)` returns a compiled Keras model. `fixed | {vary: value}` are its settings, and those of the
    training: `epochs`, `batch_size` and `train_size` (the first images only; None for all). `over` is a tuple of
    values, or a dict from a label to several settings at once. With `timing=True` runs go one at a time and are never
    taken from another study, so that their `seconds` can be compared. `keep="val"` or `"test"` keeps the probabilities
    that each run gives to the images of that split, in `img/<name>.npz`.

    Raises LabError, in one line, for a setting that nobody takes, one that is missing, one of the wrong kind, an
    empty or repeated value, and an empty or repeated seed.
    """

    name: str
    build: Callable
    fixed: Mapping[str, object]
    vary: str
    over: Iterable | Mapping[object, Mapping[str, object]]
    seeds: Iterable[int]
    timing: bool = False
    keep: str | None = None
    settings: dict[object, dict[str, object]] = field(init=False, repr=False)

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.replace("_", "").isalnum() or not self.name.isascii():
            raise LabError(f"a study's name is {self.name!r}, but allowed are letters, digits and _")
        if not isinstance(self.fixed, Mapping):
            raise self._error(f"fixed is a {type(self.fixed).__name__}, but must be a dict of settings")
        if isinstance(self.over, (str, bytes)) or not isinstance(self.over, Iterable):
            raise self._error(f"over is {self.over!r}, but must be a tuple of values or a dict of settings")
        if isinstance(self.seeds, (str, bytes)) or not isinstance(self.seeds, Iterable):
            raise self._error(f"seeds is {self.seeds!r}, but must be whole numbers, such as range(3)")
        if not isinstance(self.vary, str):
            raise self._error(f"vary is {self.vary!r}, but must be the name of a setting")
        if not isinstance(self.timing, bool):
            raise self._error(f"timing is {self.timing!r}, but allowed are True and False")
        if not (self.keep is None or (isinstance(self.keep, str) and self.keep in ("val", "test"))):
            raise self._error(f"keep is {self.keep!r}, but allowed are 'val', 'test' and None")
        fill = object.__setattr__  # the usual way to fill in a frozen dataclass
        fill(self, "fixed", dict(self.fixed))  # a notebook goes on changing its own
        fill(self, "over", self.over if isinstance(self.over, Mapping) else tuple(self.over))
        fill(self, "seeds", tuple(self.seeds))
        fill(self, "settings", self._all_settings())
        if not self.over:
            raise self._error(f"over is empty: give at least one value of {self.vary}")
        if not self.seeds:
            raise self._error("seeds is empty: give at least one")
        for seed in self.seeds:
            if not is_whole(seed) or not 0 <= seed < 2**32:
                raise self._error(f"seed is {seed!r}, but allowed is a whole number from 0 to 4,294,967,295")
        fill(self, "seeds", tuple(int(seed) for seed in self.seeds))
        if len(set(self.seeds)) < len(self.seeds):
            raise self._error(f"a seed stands twice in {self.seeds}")
        takes = self._builder_parameters()
        for settings in self.settings.values():
            self._check_settings(settings, takes)

    def _all_settings(self) -> dict:
        every = {}
        for label in self.over:
            varied = self.over[label] if isinstance(self.over, Mapping) else {self.vary: label}
            if not isinstance(varied, Mapping):
                raise self._error(f"over[{label!r}] is {varied!r}, but must be a dict of settings")
            text = str(label)
            if re.search(" at 0x[0-9a-f]", text):
                raise self._error(f"over holds {text}: give such values a label, over={{label: settings}}")
            if "\r" in text or text != text.encode(errors="replace").decode():
                raise self._error(f"over holds {text!r}, which cannot stand in a record")
            try:
                twice = label in every
            except TypeError:
                raise self._error(f"over holds {label!r}: give such values a label, over={{label: settings}}") from None
            if twice or text in map(str, every):  # the record holds their text
                raise self._error(f"{self.vary}={label!r} stands twice in over")
            every[label] = {**self.fixed, **varied}
        return every

    def _builder_parameters(self) -> Mapping[str, inspect.Parameter]:
        if not callable(self.build):
            raise self._error(f"build is {self.build!r}, but must be a function that returns a compiled model")
        try:
            parameters = inspect.signature(self.build).parameters
        except (TypeError, ValueError):
            raise self._error(f"build is {self.build!r}, whose settings cannot be told; give a function") from None
        for parameter in parameters.values():
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                raise self._error(f"build takes {parameter}, so a setting could be ignored: name each of its settings")
        return parameters

    def _check_settings(self, settings: dict, takes: Mapping[str, inspect.Parameter]) -> None:
        for name in settings:
            if name not in takes and name not in FIT_SETTINGS:
                raise self._error(f"nobody takes the setting {name!r}; known are {', '.join([*takes, *FIT_SETTINGS])}")
        for name, parameter in takes.items():
            if name not in settings and parameter.default is parameter.empty:
                raise self._error(f"build needs the setting {name!r}")
        for name in ("epochs", "batch_size", "train_size"):
            value = settings.get(name, FIT_SETTINGS[name])
            if not (name == "train_size" and value is None):
                check_whole(f"study {self.name}: {name}", value, 1)

    def _error(self, message: str) -> LabError:
        return LabError(f"study {self.name}: {message}")


def run(
    study: Study,
    digits: Digits,
    *,
    seeds: Iterable[int] | None = None,
    train_size: int | None = None,
    workers: int | None = None,
) -> Results:
    """Return the results of every run of a study: from the record where it stands there, else by training it.

    `seeds` and `train_size` cut a study down for a quick look. `workers` processes train at once, one thread each (all
    cores, unless given); the results do not depend on it. What is trained is kept, run by run, in
    `img/<study>.local.csv`; under `mnist-lab run --record` in `img/<study>.csv`; under `mnist-lab run` and pytest
    nothing is trained.

    Raises LabError, in one line and before anything is trained, for what is wrong with the study, and where a run is
    missing that may not be trained.
    """
    if not isinstance(study, Study):
        raise LabError(f"run takes a Study and its digits, in this order, not a {type(study).__name__}")
    check_digits(digits, f"study {study.name}")
    mode, workers = find_mode(), count_workers(workers)
    quick = seeds is not None or train_size is not None
    if quick:
        sizes = {settings.get("train_size") for settings in study.settings.values()}
        if train_size is not None and sizes != {study.fixed.get("train_size")}:
            raise study._error("train_size is what this study varies, so it cannot be cut down by it")
        fixed = study.fixed if train_size is None else {**study.fixed, "train_size": train_size}
        cut = {name: getattr(study, name) for name in ("name", "build", "vary", "over", "timing", "keep")}
        study = Study(**cut, fixed=fixed, seeds=study.seeds if seeds is None else seeds)
        mode = "local" if mode == "record" else mode
    configurations = _configure(study, digits)
    keys = {c.label: [c.key(seed=seed) for seed in study.seeds] for c in configurations}
    asked = [key for of_label in keys.values() for key in of_label]
    folder = find_folder()
    record, local = folder / f"{study.name}.csv", folder / f"{study.name}.local.csv"
    sources = [record] if mode in ("record", "test") else [record, local]
    found, unread = _find_runs(study, configurations, sources, folder)
    runs = [(c, seed) for c in configurations for seed in study.seeds]  # in the order of `asked`
    missing = [run for run, key in zip(runs, asked, strict=True) if key not in found]
    if missing and mode in ("replay", "test"):
        mend = "train with: mnist-lab run --record"
        if quick:
            mend = "a quick look, with seeds or train_size, is never recorded: make it a Study of its own"
        raise study._error("; ".join([f"{_name_runs(missing)} missing from {record}", *unread, mend]))
    if mode == "replay":
        _check(study, configurations, found, workers)
    if mode == "record" and _recorded.setdefault(study.name, asked) != asked:
        raise study._error(f"another study of this name was recorded in {record}; give this one a name of its own")
    if missing:
        check_writable(record)
        for told in unread:
            print(f"{study.name}: {told}", file=sys.stderr if mode == "record" else sys.stdout)
    target = record if mode == "record" else local
    workers = 1 if study.timing else workers
    for configuration, seed, history, kept in train_all(study.name, missing, workers, terminal=mode == "record"):
        key = configuration.key(seed=seed)
        found[key] = _tidy(configuration, seed, history), kept
        if study.keep:  # before the run itself: what the record holds is whole
            write_probabilities(target, study.keep, {key: kept})
        write_runs(target, [found[key][0]])
    if mode == "record":  # only now that all is there, drop what the study does not ask for
        if study.keep:
            write_probabilities(record, study.keep, {key: found[key][1] for key in asked}, keep=asked)
        dropped = write_runs(record, [rows for rows, _ in found.values()], keep=asked)
        if dropped:
            told = f"{dropped} {'runs' if dropped > 1 else 'run'} that it does not ask for dropped from {record}"
            print(f"{study.name}: {told}", file=sys.stderr)
    tables = {label: [found[key][0] for key in of_label] for label, of_label in keys.items()}
    kept = {label: np.array([found[key][1] for key in of_label]) for label, of_label in keys.items() if study.keep}
    return Results(study.name, study.vary, tables, kept)


_recorded: dict[str, list[str]] = {}  # by study, the keys it asked for: two studies must not overwrite each other


def _check(study: Study, configurations: list[Configuration], found: dict[str, tuple], workers: int) -> None:
    """Train afresh what `mnist-lab run --check` has picked of this study, and tell how far it is from the record."""
    picked = set(os.environ.get("MNIST_LAB_CHECK", "").split(","))
    if not picked & set(found):
        return
    os.environ["MNIST_LAB_CHECK"] = ",".join(picked - set(found))  # another study may ask for the same run
    runs = [(c, seed) for c in configurations for seed in study.seeds if c.key(seed=seed) in picked]
    for configuration, seed, history, _ in train_all(study.name, runs, workers, terminal=True):
        recorded = found[configuration.key(seed=seed)][0]
        fresh = _tidy(configuration, seed, history)
        scores = fresh.columns.intersection(recorded.columns).difference([*TEXT, *WHOLE, "seconds", MACHINE])
        told = "equal to the last bit"
        if not np.array_equal(fresh[scores], recorded[scores], equal_nan=True):
            others = [found[configuration.key(seed=other)][0] for other in study.seeds]
            told = "; ".join(_tell_difference(name, fresh, recorded, others) for name in ("val_accuracy", "val_loss"))
        print(f"{configuration.where}, seed {seed}: {told}", file=sys.stderr)


def _tell_difference(metric: str, fresh: pd.DataFrame, recorded: pd.DataFrame, others: list[pd.DataFrame]) -> str:
    """How far a run's last epoch is from the record, in units of the spread over the recorded seeds."""
    new, old = fresh[metric].iloc[-1], recorded[metric].iloc[-1]
    spread = np.std([run[metric].iloc[-1] for run in others], ddof=1) if len(others) > 1 else np.nan
    told = f"{metric} {new:g}, recorded {old:g}"
    return f"{told}: {abs(new - old) / spread:.2f} standard deviations over seeds" if spread > 0 else told


def find_mode() -> str:
    """What may be trained: "record", "local" (beside the record), or nothing ("replay", and "test" under pytest)."""
    mode = os.environ.get("MNIST_LAB_MODE") or ("test" if "PYTEST_VERSION" in os.environ else "local")
    if mode not in ("record", "local", "replay", "test"):
        raise LabError(f"MNIST_LAB_MODE is {mode!r}, but allowed are record, local, replay and test")
    return mode


def count_workers(workers: int | None) -> int:
    """How many processes train at once. Raises LabError for anything but a whole number from 1 to 999."""
    told = workers if workers is not None else os.environ.get("MNIST_LAB_WORKERS") or joblib.cpu_count()
    if not re.fullmatch("[1-9][0-9]{0,2}", str(told)):
        raise LabError(f"workers is {told!r}, but allowed is a whole number from 1 to 999")
    return int(told)


def _configure(study: Study, digits: Digits) -> list[Configuration]:
    """Build the model of every value once: to see that it can be, to recognise its runs, and to guess their cost.

    Raises LabError where a builder fails, and where two values give the same run.
    """
    configurations, described, parts = [], {}, {}
    for label, settings in study.settings.items():
        size = settings.get("train_size")
        if size not in parts:
            parts[size] = cut(digits, size, f"study {study.name}")
        where = f"study {study.name}, {study.vary}={label!r}"
        c = configure(label, where, study.build, settings, *parts[size], study.timing, study.keep)
        same = described.setdefault(c.key(seed=0), label)
        if same is not label:
            raise study._error(f"{same!r} and {label!r} give the same run: {study.vary} changes nothing there")
        configurations.append(c)
    return configurations


def check_digits(digits: Digits, where: str) -> None:
    """Raises LabError, in one line that begins with `where`, for what is none, and for splits without images."""
    if not isinstance(digits, Digits):
        raise LabError(f"{where}: digits is a {type(digits).__name__}, but must be what lab.load_digits returns")
    for name, split in (("train", digits.train), ("val", digits.val), ("test", digits.test)):
        if not (isinstance(split, Split) and isinstance(split.x, np.ndarray) and isinstance(split.y, np.ndarray)):
            raise LabError(f"{where}: digits.{name} must be a Split of two numpy arrays")
        if not all(np.issubdtype(array.dtype, np.number) for array in (split.x, split.y)):
            raise LabError(f"{where}: digits.{name} must hold numbers, not {split.x.dtype} and {split.y.dtype}")
        ours, others = ([array.shape[1:] for array in (s.x, s.y)] for s in (split, digits.train))
        if ours != others:
            raise LabError(
                f"{where}: digits.{name} has images and labels of shape {ours[0]} and {ours[1]}, but digits.train of "
                f"{others[0]} and {others[1]}"
            )
        if not len(split) or not np.isfinite(split.x).all() or not np.isfinite(split.y).all():
            raise LabError(
                f"{where}: digits.{name} holds {'a pixel or label that is no number' if len(split) else 'no images'}"
            )


def cut(digits: Digits, train_size: int | None, where: str) -> tuple[Digits, str]:
    """The first `train_size` training images (None for all) with the other splits, and a hash of them all.

    Raises LabError, in one line that begins with `where`, if there are not as many.
    """
    size = len(digits.train) if train_size is None else train_size
    check_whole(f"{where}: train_size", size, 1)
    if size > len(digits.train):
        raise LabError(f"{where}: train_size is {size}, but there are {len(digits.train)} training images")
    part = Digits(digits.train[:size], digits.val, digits.test)
    return part, digest_data(part)


def configure(
    label: object,
    where: str,
    build: Callable,
    settings: dict,
    digits: Digits,
    digest: str,
    timing: bool = False,
    keep: str | None = None,
) -> Configuration:
    """Build one model, and say what of it and of its settings decides a run. Raises LabError where it cannot be."""
    model, start = build_seeded(lambda: build_model(build, settings, digits.train, where), where)
    described = describe_model(model)
    described |= {"start": start} if start else {}
    told = {**FIT_SETTINGS, **settings}
    epochs, batch_size = int(told["epochs"]), int(told["batch_size"])
    key = partial(
        make_key,
        model=described,
        epochs=epochs,
        batch_size=batch_size,
        data=digest,
        training=TRAINING,
        timing=timing,
    )
    seconds = _guess_seconds(model, epochs, batch_size, digits)
    return Configuration(label, where, build, settings, epochs, batch_size, digits, digest, key, seconds, keep)


def _guess_seconds(model, epochs: int, batch_size: int, digits: Digits) -> float:
    """A rough guess at one run's seconds on one thread: 80 multiplications a nanosecond, and a little for each step."""
    operations = 0
    for layer in flatten(model):
        shape = getattr(getattr(layer, "kernel", None), "shape", None)
        if not layer._layers and shape is not None:
            try:
                positions = math.prod(layer.output.shape[1:-1]) if len(shape) > 2 else 1
            except AttributeError:  # a layer inside another has no output of its own to ask for
                positions = 1
            operations += 2 * math.prod(shape) * positions
    images = 3 * len(digits.train) + len(digits.val) + min(len(digits.train), CLEAN)
    return epochs * images * (operations / 80e9 + 50e-6 / batch_size)


def _find_runs(study: Study, configurations: list, sources: list[Path], folder: Path) -> tuple[dict, list[str]]:
    """The recorded runs and their probabilities by key: the study's own, then those of others under the same key.

    Also says which of the others could not be read.
    """
    wanted = {c.key(seed=seed): (c, seed) for c in configurations for seed in study.seeds}
    ours = ".local.csv" if len(sources) > 1 else None
    others = [p for p in sorted(folder.glob("*.csv")) if p not in sources and (ours or ".local." not in p.name)]
    others = [] if study.timing else others  # seconds of another session do not compare
    found: dict[str, tuple] = {}
    unread = []
    for path in [*sources, *others]:
        if len(found) == len(wanted):
            break
        try:
            rows = read_record(path)
            kept = read_probabilities(path, study.keep) if study.keep else {}
        except LabError as error:
            if path in sources:
                raise
            unread.append(f"not looked into: {error}")
            continue
        for key in set(rows["key"]) & set(wanted) - set(found):
            configuration, seed = wanted[key]
            run_rows = find_run(rows, key, configuration.epochs)
            if run_rows is not None and (key in kept or not study.keep):
                found[key] = run_rows.assign(value=str(configuration.label), seed=seed), kept.get(key)
    return found, unread


def _name_runs(missing: list) -> str:
    """Say which runs, a value after the other: "3 runs (depth 7: seeds 0, 1; depth 10: seed 4)"."""
    seeds: dict[object, list[int]] = {}
    for configuration, seed in missing:
        seeds.setdefault(configuration.label, []).append(seed)
    told = [f"{label}: {'seeds' if len(s) > 1 else 'seed'} {_ranges(sorted(s))}" for label, s in seeds.items()]
    return f"{len(missing)} {'runs' if len(missing) > 1 else 'run'} ({'; '.join(told)})"


def _ranges(numbers: list[int]) -> str:
    """Sorted whole numbers, neighbours drawn together: "0-4, 7"."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _tidy(configuration: Configuration, seed: int, history: dict) -> pd.DataFrame:
    rows = pd.DataFrame(history)
    rows.insert(0, "key", configuration.key(seed=seed))
    rows.insert(1, "value", str(configuration.label))
    rows.insert(2, "seed", seed)
    rows.insert(3, "epoch", range(1, configuration.epochs + 1))
    return rows.reindex(columns=[*COLUMNS, *rows.columns.difference([*COLUMNS, MACHINE], sort=False), MACHINE])
