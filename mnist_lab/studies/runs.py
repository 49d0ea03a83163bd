"""The runs of a study: which are in the record, and the training of those that are missing."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mnist_lab.data import Digits, cut_digits, digest_digits
from mnist_lab.errors import LabError
from mnist_lab.studies.code import Code
from mnist_lab.studies.identity import digest, find_key, find_source, format_probe, is_close
from mnist_lab.studies.record import Finder, is_metric, rewrite_record, write_probabilities


@dataclass(eq=False)
class Configuration:
    """One value of a study, of which only the seed is missing. The last three fields are known once it was built."""

    label: object
    name: str  # for messages: "study mlp_depth, depth=7"
    settings: dict  # of the builder
    fit: dict  # epochs, batch_size, the digest of the data, whether it is timed
    digits: Digits
    source: str
    key: str = ""
    probe: str = ""
    model: object = None


class Plan:
    """All runs that a study asks for. `runs` holds those there are, with their probabilities, by label and seed.

    Raises LabError, in one line, where two values are the same.
    """

    def __init__(self, study, digits: Digits, defaults: dict, names: Mapping, workers: int, recording: bool):
        self.study, self.workers, self.recording = study, workers, recording
        self.runs: dict[tuple, tuple] = {}
        self.notes: list[str] = []
        self.configurations: list[Configuration] = []
        try:
            self.code = Code(study.build)
            parameters = inspect.signature(study.build).parameters
            for label, settings in study.settings.items():
                fit = {name: settings.get(name, default) for name, default in defaults.items()}
                part = cut_digits(digits, fit.pop("train_size"))
                fit |= {"data": digest_digits(part), "timing": study.timing}
                given = {name: settings.get(name, parameter.default) for name, parameter in parameters.items()}
                name = names.get(label, f"study {study.name}, {study.vary}={label!r}")
                source = find_source(self.code, given, fit)
                self.configurations.append(Configuration(label, name, given, fit, part, source))
        except LabError as error:
            raise study.error(error) from None
        self._refuse_twins({c.label: c.source for c in self.configurations})
        self.asked = [(c, seed) for c in self.configurations for seed in study.seeds]
        self.sources = [(c.source, seed) for c, seed in self.asked]

    @property
    def missing(self) -> list[tuple[Configuration, int]]:
        return [(c, seed) for c, seed in self.asked if (c.label, seed) not in self.runs]

    def find(self, paths: list[Path]) -> None:
        """Look for the runs: by source in the study's own files, then in those of others, then by key and probe."""
        finder = Finder(self.study.keep)
        for path in paths:
            finder.add(path)
        self._collect_by_source(finder)
        if self.missing and not self.study.timing:  # seconds of another session do not compare
            for path in sorted(paths[0].parent.glob("*.csv")):
                if path not in paths and not (self.recording and path.name.endswith(".local.csv")):
                    try:
                        finder.add(path)
                    except LabError as error:
                        self.notes.append(f"not searched: {error}")
            self._collect_by_source(finder)
        changed = list({c.label: c for c, _ in self.missing}.values())
        self._build(changed)
        for c in changed:
            self._collect_by_key(finder, c)
        self._refuse_equal(self.study.seeds)

    def _collect_by_source(self, finder: Finder) -> None:
        for c, seed in self.missing:
            if (c.source, seed) in finder.by_source:
                self._collect(c, seed, finder.by_source[c.source, seed])

    def _collect(self, c: Configuration, seed: int, found: tuple) -> None:
        self.runs[c.label, seed] = found[0].assign(value=str(c.label)), found[1]

    def _build(self, configurations: list[Configuration]) -> None:
        """Build each model once: to see that it can be trained, and to know its key and its probe."""
        for c in configurations:
            from mnist_lab.training.checks import PROBE_SEED, build_model, probe_model, seeded

            with seeded(PROBE_SEED):
                c.model = build_model(self.study.build, c.settings, c.digits.train, c.name)
                c.key = find_key(c.model, self.code, c.source, c.fit)
                probe, metrics = probe_model(c.model, c.digits.train, c.name)
            if "accuracy" not in metrics:
                raise LabError(f'{c.name}: no metric is named accuracy; compile the model with metrics=["accuracy"]')
            c.probe = format_probe(probe)
        self._refuse_twins({c.label: (c.key, c.probe) for c in configurations})
        keys = [c.key for c in configurations]
        for c in configurations:
            if keys.count(c.key) > 1:  # what tells these apart is not in Keras's description, but in the probe
                c.key = digest(c.key, c.source)

    def _collect_by_key(self, finder: Finder, c: Configuration) -> None:
        for seed in self.study.seeds:
            recorded = finder.by_key.get(digest(c.key, seed), [])
            same = [found for found in recorded if is_close(c.probe, found[0]["probe"].iloc[-1])]
            if same and (c.label, seed) not in self.runs:
                self._collect(c, seed, same[0])
            if recorded and not same:
                before = recorded[0][0]["probe"].iloc[-1]
                self.notes.append(
                    f"{c.name}: recorded, but now its first losses and weights differ ({before}; {c.probe})"
                )
                c.key = digest(c.key, c.source)

    def _refuse_twins(self, identities: dict[object, object]) -> None:
        first: dict[object, object] = {}
        for label, identity in identities.items():
            if first.setdefault(identity, label) is not label:
                twins = f"{first[identity]!r} and {label!r}"
                raise self.study.error(f"{twins} give the same run: {self.study.vary} changes nothing there")

    def _refuse_equal(self, seeds: Iterable[int]) -> None:
        """Raises LabError where two values gave the same numbers from one of these seeds; unless they diverged."""
        for seed in seeds:
            runs = {c.label: self.runs[c.label, seed][0] for c in self.configurations if (c.label, seed) in self.runs}
            scores = {label: rows[list_scores(rows)].to_numpy(float) for label, rows in runs.items()}
            self._refuse_twins({n: s.tobytes() for n, s in scores.items() if not runs[n]["loss"].isna().any()})

    def name_missing(self) -> str:
        """The missing runs: "3 runs (7: seeds 0, 1; 10: seeds 4)"."""
        parts = []
        for c in self.configurations:
            seeds = [str(seed) for other, seed in self.missing if other is c]
            parts += [f"{c.label}: seeds {', '.join(seeds)}"] if seeds else []
        return f"{len(self.missing)} of {len(self.asked)} runs ({'; '.join(parts)})"

    def train(self) -> Iterator[tuple]:
        """Train what is missing; yield the rows and the probabilities (or None) of each run as it ends."""
        for note in self.notes if self.missing else ():
            print(f"{self.study.name}: {note}", file=sys.stderr if self.recording else sys.stdout)
        for c, seed, rows, probabilities in self._train(self.missing):
            self._collect(c, seed, (rows, probabilities))
            self._refuse_equal([seed])
            yield self.runs[c.label, seed]

    def _train(self, asked: list) -> Iterator[tuple]:
        if not asked:
            return
        from mnist_lab.training.checks import check_start, count_operations
        from mnist_lab.training.workers import Job, pack_builder, train_all

        jobs, builders = {}, {}
        for c, seed in asked:
            if c.label not in builders:
                check_start(self.study.build, c.settings, c.digits.train, c.model, c.name)
                builders[c.label] = pack_builder(self.study.build, c.settings, self.code.modules, c.name)
            job = Job(
                name=f"{c.name}, seed {seed}",
                configuration=c.source,
                builder=builders[c.label],
                epochs=c.fit["epochs"],
                batch_size=c.fit["batch_size"],
                train_size=len(c.digits.train),
                digits=c.digits.loaded or c.digits,
                digest=c.fit["data"],
                seed=int(seed),
                keep=self.study.keep,
                operations=count_operations(c.model),
            )
            jobs[job] = c, seed
        terminal = self.recording or not self.missing  # in a kernel of `mnist-lab run`
        for job, history, probabilities in train_all(self.study.name, list(jobs), self.workers, terminal):
            c, seed = jobs[job]
            blank = [""] * (job.epochs - 1)
            rows = pd.DataFrame(history).assign(key=digest(c.key, seed), seed=seed, epoch=range(1, job.epochs + 1))
            yield c, seed, rows.assign(source=[*blank, c.source], probe=[*blank, c.probe]), probabilities

    def check(self, keys: list[str]) -> None:
        """Train the recorded runs of these keys again, and print how far they come out from the record."""
        chosen = [(c, seed) for c, seed in self.asked if self.runs[c.label, seed][0]["key"].iloc[0] in keys]
        self._build(list({c.label: c for c, _ in chosen}.values()))
        for c, seed, fresh, _ in self._train(chosen):
            recorded = self.runs[c.label, seed][0]
            scores = [name for name in list_scores(recorded) if name in fresh]
            message = "equal to the last bit"
            if not np.array_equal(fresh[scores], recorded[scores], equal_nan=True):
                pairs = [(name, fresh[name].iloc[-1], recorded[name].iloc[-1]) for name in ("val_accuracy", "val_loss")]
                message = "; ".join(f"{name} {new:g}, recorded {old:g}" for name, new, old in pairs)
            print(f"{c.name}, seed {seed}: {message}", file=sys.stderr)

    def rewrite(self, record: Path) -> None:
        """Put the runs in order in the record, under today's source, and drop what the study does not ask for."""
        tables, probabilities = [], {}
        for c, seed in self.asked:
            rows, kept = self.runs[c.label, seed]
            tables.append(rows.assign(source=[*[""] * (len(rows) - 1), c.source]))
            probabilities[rows["key"].iloc[0]] = kept
        if self.study.keep:
            write_probabilities(record, self.study.keep, probabilities, only=True)
        dropped = rewrite_record(record, tables)
        if dropped:
            print(f"{self.study.name}: dropped {dropped} runs that it does not ask for from {record}", file=sys.stderr)


def list_scores(rows: pd.DataFrame) -> list[str]:
    """The columns of a run that its seed decides."""
    return [name for name in sorted(rows) if is_metric(name) and name != "seconds"]
