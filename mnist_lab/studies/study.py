"""A study asks one question of many runs: `Study` says which, `run` finds them in the record or trains them."""

import inspect
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from joblib import cpu_count

from mnist_lab.data import Digits, check_digits, check_integer
from mnist_lab.errors import LabError, Stopped
from mnist_lab.files import find_images, find_recorded
from mnist_lab.studies.identity import Code, find_unused
from mnist_lab.studies.record import SCORES, write_probabilities, write_runs
from mnist_lab.studies.results import Results
from mnist_lab.studies.runs import FIT_SETTINGS, Plan


@dataclass(frozen=True, eq=False)
class Study:
    """One question: what does the setting `vary` do, over the values `over`, for each seed in `seeds`?

    `build(**settings)` returns a compiled Keras model. `fixed | {vary: value}` are its settings, and those of the
    training: `epochs`, `batch_size` and `train_size` (the first images only). `over` holds values, or is a dict from a
    label to several settings. With `timing=True` runs go one at a time and are never taken from another study, so that
    their `seconds` compare. `keep="val"` or `"test"` keeps the probabilities for that split in `img/<name>.npz`.
    Raises LabError, in one line, for a setting that is unknown, unused, missing or wrong, and for repeated values.
    """

    name: str
    build: Callable
    fixed: Mapping[str, object]
    vary: str
    over: Iterable | Mapping[object, Mapping[str, object]]
    seeds: Iterable[int]
    timing: bool = False
    keep: str | None = None
    settings: dict[object, dict[str, object]] = field(init=False, repr=False)  # by label

    def __post_init__(self):
        if not re.fullmatch("[A-Za-z0-9_]+", str(self.name)):
            raise self.error("the name must be letters, digits and _")
        if not isinstance(self.fixed, Mapping):
            raise self.error(f"fixed must be a dict of settings (got {self.fixed!r})")
        if self.keep not in (None, "val", "test"):
            raise self.error(f"keep must be 'val', 'test' or None (got {self.keep!r})")
        for name, allowed in (("over", "a tuple of values or a dict"), ("seeds", "integers, such as range(3)")):
            value = getattr(self, name)
            several = isinstance(value, Iterable) and not isinstance(value, (str, set))  # a set has no order
            copy = () if not several else dict(value) if isinstance(value, Mapping) else tuple(value)
            if not copy:
                raise self.error(f"{name} must be {allowed}, at least one (got {value!r})")
            object.__setattr__(self, name, copy)  # a notebook may change its own
        for seed in self.seeds:
            check_integer(f"study {self.name}: seed", seed, 0, 2**32 - 1)
        object.__setattr__(self, "fixed", dict(self.fixed))
        object.__setattr__(self, "settings", {})
        for label in self.over:
            varied = self.over[label] if isinstance(self.over, dict) else {self.vary: label}
            if not isinstance(varied, Mapping):
                raise self.error(f"over[{label!r}] must be a dict of settings (got {varied!r})")
            # the record finds a value by its text
            if label.__hash__ is None or " at 0x" in str(label) or not str(label).isprintable():
                raise self.error(f"over holds {label!r}; use numbers, texts or tuples, or over={{label: settings}}")
            if label in self.settings or str(label) in map(str, self.settings):
                raise self.error(f"{label!r} appears twice in `over`")
            self.settings[label] = self.fixed | dict(varied)
        if len(set(self.seeds)) < len(self.seeds):
            raise self.error(f"a seed appears twice in {self.seeds}")
        self._check_settings()

    def error(self, message: object) -> LabError:
        """A LabError about this study."""
        return LabError(f"study {self.name}: {message}")

    def _check_settings(self) -> None:
        if not inspect.isfunction(inspect.unwrap(self.build)):
            raise self.error(f"build must be a function that returns a model: mlp, not mlp() (got {self.build!r})")
        parameters, unused = inspect.signature(self.build).parameters, find_unused(self.build)
        known = [*parameters, *FIT_SETTINGS]
        for settings in self.settings.values():
            for name, parameter in parameters.items():
                if name not in settings and parameter.default is parameter.empty:
                    raise self.error(f"build needs the setting {name!r}")
            for name in settings:
                if name not in known:
                    raise self.error(f"unknown setting {name!r}; expected one of {', '.join(known)}")
                if name in unused:
                    raise self.error(f"build ignores the setting {name!r}: its code never uses it")
            for name in ("epochs", "batch_size"):
                check_integer(f"study {self.name}: {name}", settings.get(name, FIT_SETTINGS[name]), 1)


def run(
    study: Study,
    digits: Digits,
    *,
    seeds: Iterable[int] | None = None,
    train_size: int | None = None,
    workers: int | None = None,
    max_minutes: float = 10,
) -> Results:
    """Return the results of every run of a study: from the record if it is there, else by training it.

    `seeds` and `train_size` cut a study down for a quick look. `workers` processes train at once (all cores, unless
    given); the results do not depend on it. What takes longer than `max_minutes` does not start. Each run is kept in
    `img/<study>.local.csv`; under `mnist-lab run --record` in `img/<study>.csv`.
    Raises LabError, before anything is trained, for what is wrong with the study, and Stopped where its user stops it.
    """
    if not isinstance(study, Study):
        raise LabError(f"run: expected a Study and its digits, in this order (got a {type(study).__name__})")
    quick = seeds is not None or train_size is not None
    fixed = study.fixed if train_size is None else study.fixed | {"train_size": train_size}
    study = replace(study, fixed=fixed, seeds=study.seeds if seeds is None else seeds) if quick else study
    if train_size and any(settings["train_size"] != train_size for settings in study.settings.values()):
        raise study.error("its values set train_size; change it there, instead of run(train_size=...)")
    current = getattr(sys.modules.get(study.build.__module__), study.build.__qualname__, study.build)
    if current is not study.build and Code(current).text != Code(study.build).text:
        raise study.error(f"{study.build.__name__} has changed since this Study was made: run the Study's cell again")
    *_, plan = run_steps(study, digits, workers, max_minutes, quick, {})
    runs = {c.label: [c.runs[seed] for seed in study.seeds] for c in plan.configurations}
    numbers = {v: rows[0][0][SCORES[:6]].to_csv(index=False, na_rep=f"{v}") for v, rows in runs.items()}
    plan.refuse_twins(numbers)  # a nan, written as its value, equals no other
    kept = {label: np.array([probabilities for _, probabilities in runs[label]]) for label in runs if study.keep}
    return Results(study.name, study.vary, {label: [rows for rows, _ in runs[label]] for label in runs}, kept)


def run_steps(
    study: Study, digits: Digits, workers: int | None, max_minutes: float, quick: bool, names: Mapping[object, str]
) -> Iterator[Plan]:
    """As `run`, without recording if `quick`; yield the plan after the search for its runs, and after each training."""
    check_digits(digits, f"study {study.name}")
    mode = os.environ.get("MNIST_LAB_MODE", "local")
    if mode not in (modes := ("local", "replay", "record", "prune", "dry-run")):
        raise LabError(f"MNIST_LAB_MODE must be one of {', '.join(modes)} (got {mode!r})")
    workers = int(os.environ.get("MNIST_LAB_WORKERS", cpu_count())) if workers is None else workers
    check_integer("workers", workers, 1, 999)
    max_minutes = 0 if mode == "dry-run" else float("inf") if mode in ("record", "prune") else max_minutes
    recording = mode in ("record", "prune", "dry-run") and not quick
    record = (find_images() if recording else find_recorded()) / f"{study.name}.csv"
    target = record if recording or mode == "replay" else find_images() / f"{study.name}.local.csv"
    workers = 0 if mode == "replay" else 1 if study.timing else workers
    plan = Plan(study, digits, names, workers, recording)
    total = len(plan.configurations) * len(study.seeds)

    def stop(number, frame):  # once; a second press would hit the ending of the workers
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        plan.find([record, target])
        if plan.missing() and mode == "replay":
            advice = "runs with seeds= or train_size= are not recorded" if quick else "train: mnist-lab run --record"
            labels = ", ".join(dict.fromkeys(str(c.label) for c, _ in plan.missing()))
            fault = f"{len(plan.missing())} of {total} runs ({labels}) missing from {record}"
            raise study.error("; ".join([fault, plan.name_reason([record]), *plan.notes, advice]))
        if recording and mode != "prune" and (others := plan.others(record)):
            fault = f"{record} holds {len(others)} runs that this study does not use ({'; '.join(others)})"
            advice = "rename the study, or delete them: mnist-lab run --prune"
            raise study.error("; ".join([fault, *plan.notes, advice]))
        yield plan
        for rows, probabilities in plan.train_missing([target, record], max_minutes):
            if study.keep:  # before the run itself: a run in the record has all that belongs to it
                write_probabilities(target, study.keep, {rows["key"].iloc[0]: probabilities})
            write_runs(target, [rows])
            yield plan
    except KeyboardInterrupt:
        done = total - len(plan.missing())
        raise Stopped(f"stopped: {done} of {total} runs are done and kept; run the cell again to go on") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if recording:
        plan.rewrite(record)
