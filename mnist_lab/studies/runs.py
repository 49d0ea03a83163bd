"""The runs of a study: which are in the record, and the training of those that are missing."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_lab.data import Digits, cut_digits, digest_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.code import Code
from mnist_lab.studies.identity import digest, find_key, find_source, is_close
from mnist_lab.studies.record import Finder, list_scores, write_probabilities, write_runs

FIT_SETTINGS = {"epochs": 1, "batch_size": 32, "train_size": None}  # Keras's own defaults


@dataclass(eq=False)
class Configuration:
    """One value of a study, of which only the seed is missing. `runs` holds rows and probabilities by seed."""

    label: object
    name: str  # for messages: "study mlp_depth, depth=7"
    settings: dict  # of the builder
    fit: dict  # epochs, batch_size, a hash of the data, whether it is timed
    digits: Digits
    source: str
    runs: dict[int, tuple] = field(default_factory=dict)
    key: str = ""  # this and the next are known once the model was built
    probe: str = ""
    model: object = None

    def add(self, seed: int, rows: pd.DataFrame, probabilities: np.ndarray | None) -> None:
        """Take a run, whatever its value was called where it was recorded."""
        self.runs[seed] = rows.assign(value=str(self.label)), probabilities


class Plan:
    """All runs that a study asks for: finds them, trains them, compares them.

    Raises LabError, in one line, where two values are the same.
    """

    def __init__(self, study, digits: Digits, names: Mapping, workers: int, recording: bool):
        self.study, self.workers, self.recording, self.notes, self.configurations = study, workers, recording, [], []
        try:
            self.code, parameters = Code(study.build), inspect.signature(study.build).parameters
            for label, settings in study.settings.items():
                fit = {name: settings.get(name, default) for name, default in FIT_SETTINGS.items()}
                part = cut_digits(digits, fit.pop("train_size"))
                fit |= {"data": digest_digits(part), "timing": study.timing}
                given = {name: settings.get(name, parameter.default) for name, parameter in parameters.items()}
                name = names.get(label, f"study {study.name}, {study.vary}={label!r}")
                source = find_source(self.code, given, fit)
                self.configurations.append(Configuration(label, name, given, fit, part, source))
        except LabError as error:
            raise study.error(error) from None
        self._refuse_twins({c.label: c.source for c in self.configurations})

    def missing(self) -> list[tuple[Configuration, int]]:
        """The runs that are neither found nor trained yet."""
        return [(c, seed) for c in self.configurations for seed in self.study.seeds if seed not in c.runs]

    def name_missing(self) -> str:
        """The missing runs in words: "3 of 40 runs (7: seeds 0, 1; 10: seeds 4)"."""
        seeds: dict[object, list[str]] = {}
        for c, seed in self.missing():
            seeds.setdefault(c.label, []).append(str(seed))
        total = len(self.configurations) * len(self.study.seeds)
        parts = [f"{label}: seeds {', '.join(names)}" for label, names in seeds.items()]
        return f"{len(self.missing())} of {total} runs ({'; '.join(parts)})"

    def find(self, paths: list[Path]) -> None:
        """Look for the runs: by source in the study's own files, then in those of others, then by key and probe."""
        finder = Finder(self.study.keep)
        for path in [*paths, *sorted(paths[0].parent.glob("*.csv"))]:
            own = path in paths  # seconds of another session do not compare, and a local run is not a recorded one
            borrowed = not self.study.timing and not (self.recording and path.name.endswith(".local.csv"))
            if self.missing() and (own or borrowed) and path not in finder.paths:
                try:
                    finder.add(path)
                except LabError as error:
                    if own:
                        raise
                    self.notes.append(f"not searched: {error}")
                for c, seed in self.missing():
                    if (c.source, seed) in finder.by_source:
                        c.add(seed, *finder.by_source[c.source, seed])
        changed = list(dict.fromkeys(c for c, _ in self.missing()))
        self._build(changed)
        for c in changed:
            self._find_by_key(c, finder)
        self._refuse_equal(self.study.seeds)

    def _build(self, configurations: list[Configuration]) -> None:
        """Build each model once: to see that it can be trained, and to know its key and its probe."""
        if configurations:
            from mnist_lab.training.checks import PROBE_SEED, build_model, probe_model, seeded
        for c in configurations:
            with seeded(PROBE_SEED):
                c.model = build_model(self.study.build, c.settings, c.digits.train, c.name)
                c.key = find_key(c.model, self.code, c.source, c.fit)
                probe, metrics = probe_model(c.model, c.digits.train, c.name)
            if "accuracy" not in metrics:
                raise LabError(f'{c.name}: no metric is named accuracy; compile the model with metrics=["accuracy"]')
            c.probe = " ".join(f"{number:.6g}" for number in probe)
        self._refuse_twins({c.label: (c.key, c.probe) for c in configurations})
        keys = [c.key for c in configurations]
        for c in configurations:
            if keys.count(c.key) > 1:  # the difference between these is not in Keras's description, but in the probe
                c.key = digest(c.key, c.source)

    def _find_by_key(self, c: Configuration, finder: Finder) -> None:
        for seed in self.study.seeds:
            recorded = finder.by_key.get(digest(c.key, seed), [])
            same = [run for run in recorded if is_close(c.probe, run[0]["probe"].iloc[-1])]
            if same and seed not in c.runs:
                c.add(seed, *same[0])
            if recorded and not same:
                before = recorded[0][0]["probe"].iloc[-1]
                self.notes.append(f"{c.name}: its first losses and norms differ from the record ({before}; {c.probe})")
                c.key = digest(c.key, c.source)

    def _refuse_twins(self, identities: dict[object, object]) -> None:
        first: dict[object, object] = {}
        for label, identity in identities.items():
            if first.setdefault(identity, label) is not label:
                twins = f"{first[identity]!r} and {label!r}"
                raise self.study.error(f"{twins} give the same run: {self.study.vary} changes nothing there")

    def _refuse_equal(self, seeds: Iterable[int]) -> None:
        """Raises LabError where two values gave the same losses from one of these seeds, unless they diverged."""
        for seed in seeds:
            runs = {c.label: c.runs[seed][0] for c in self.configurations if seed in c.runs}
            losses = {label: rows[["loss", "val_loss"]].to_numpy(float) for label, rows in runs.items()}
            self._refuse_twins({label: loss.tobytes() for label, loss in losses.items() if not np.isnan(loss).any()})

    def train(self, asked: list[tuple[Configuration, int]], terminal: bool) -> Iterator[tuple]:
        """Train runs; yield configuration, seed, rows and probabilities (or None) of each as it ends."""
        if not asked:
            return
        from mnist_lab.training.checks import check_start, count_operations
        from mnist_lab.training.workers import Job, pack_builder, train_all

        jobs, common = {}, {}
        for c, seed in asked:
            if c.label not in common:
                check_start(self.study.build, c.settings, c.digits.train, c.model, c.name)
                builder = pack_builder(self.study.build, c.settings, self.code.modules, c.name)
                digits = c.digits.loaded or c.digits  # digits of load_digits are loaded there: they would be 190 MB
                size, operations = len(c.digits.train), count_operations(c.model)
                common[c.label] = (c.source, builder, c.fit, digits, size, self.study.keep, operations)
            jobs[Job(f"{c.name}, seed {seed}", int(seed), *common[c.label])] = c, seed
        for job, history, probabilities in train_all(self.study.name, list(jobs), self.workers, terminal):
            c, seed = jobs[job]
            epochs = c.fit["epochs"]
            blank = [""] * (epochs - 1)
            rows = pd.DataFrame(history).assign(key=digest(c.key, seed), seed=seed, epoch=range(1, epochs + 1))
            yield c, seed, rows.assign(source=[*blank, c.source], probe=[*blank, c.probe]), probabilities

    def train_missing(self) -> Iterator[tuple]:
        """Train what is missing; yield the rows and the probabilities (or None) of each run as it ends."""
        for note in self.notes if self.missing() else ():
            print(f"{self.study.name}: {note}", file=sys.stderr if self.recording else sys.stdout)
        for c, seed, rows, probabilities in self.train(self.missing(), terminal=self.recording):
            c.add(seed, rows, probabilities)
            self._refuse_equal([seed])
            yield c.runs[seed]

    def check(self, keys: list[str]) -> None:
        """Train the recorded runs of these keys again, and print how far they come out from the record."""
        asked = [(c, seed) for c in self.configurations for seed in self.study.seeds]
        chosen = [(c, seed) for c, seed in asked if c.runs[seed][0]["key"].iloc[0] in keys]
        self._build(list(dict.fromkeys(c for c, _ in chosen)))
        for c, seed, fresh, _ in self.train(chosen, terminal=True):
            recorded = c.runs[seed][0]
            scores = [name for name in list_scores(recorded) if name in fresh]
            message = "equal to the last bit"
            if not np.array_equal(fresh[scores], recorded[scores], equal_nan=True):
                pairs = [(name, fresh[name].iloc[-1], recorded[name].iloc[-1]) for name in ("val_accuracy", "val_loss")]
                message = "; ".join(f"{name} {new:g}, recorded {old:g}" for name, new, old in pairs)
            print(f"{c.name}, seed {seed}: {message}", file=sys.stderr)

    def rewrite(self, record: Path) -> None:
        """Put the runs in order in the record, under today's source, and drop what the study does not ask for."""
        tables, probabilities = [], {}
        for c in self.configurations:
            for rows, kept in (c.runs[seed] for seed in self.study.seeds):
                tables.append(rows.assign(source=[*[""] * (len(rows) - 1), c.source]))
                probabilities[rows["key"].iloc[0]] = kept
        if self.study.keep:
            write_probabilities(record, self.study.keep, probabilities, only=True)
        dropped = write_runs(record, tables, only=True)
        if dropped:
            print(f"{self.study.name}: dropped {dropped} runs that it does not ask for from {record}", file=sys.stderr)
