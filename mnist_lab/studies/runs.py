"""The runs of a study: which are in the record, and the training of those that are missing."""

import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from mnist_lab.data import Digits, cut_digits, digest_digits
from mnist_lab.errors import LabError
from mnist_lab.files import read_text
from mnist_lab.studies import record as files
from mnist_lab.studies.identity import Code, describe_run, digest, find_difference, find_key, is_close
from mnist_lab.training.cluster import check_workers, find_client

# joblib replaces a worker that has grown much, and cancels the other tasks when one fails: no news for a reader
warnings.filterwarnings("ignore", r"A worker stopped while some jobs|\d+ tasks (which were still|have been)")

FIT_SETTINGS = {"epochs": 1, "batch_size": 32, "train_size": None}  # Keras's own defaults


@dataclass(eq=False)
class Configuration:
    """One value of a study, of which only the seed is missing. `runs` holds rows and probabilities by seed."""

    label: object
    name: str  # for messages: "study mlp_depth, depth=7"
    settings: dict  # of the builder
    fit: dict  # epochs, batch_size, a hash of the data, whether it is timed
    digits: Digits
    description: dict  # of all that decides a run but its seed
    source: str
    runs: dict[int, tuple] = field(default_factory=dict)
    key: str = ""  # this and the next two are known once the model was built
    probe: str = ""
    model: object = None
    task: tuple = ()  # what a worker gets to train it: the arguments of _train_one
    seconds: float = 0  # a rough estimate of those of a run

    def add(self, seed: int, rows: pd.DataFrame, probabilities: np.ndarray | None) -> None:
        """Take a run, whatever its value and its source were called where it was recorded."""
        source = [""] * (len(rows) - 1) + [self.source]
        self.runs[seed] = rows.assign(value=str(self.label), source=source), probabilities


class Plan:
    """All runs that a study asks for: finds them, and trains them. Raises LabError where two values are the same."""

    def __init__(self, study, digits: Digits, names: Mapping, workers: int, recording: bool):
        self.study, self.workers, self.recording = study, workers, recording
        self.notes, self.configurations, self.found, self.recorded, self.starting = [], [], {}, set(), None
        try:
            self.code, parameters = Code(study.build), inspect.signature(study.build).parameters
            for label, settings in study.settings.items():
                fit = {name: settings.get(name, default) for name, default in FIT_SETTINGS.items()}
                part = cut_digits(digits, fit.pop("train_size"))
                fit |= {"data": digest_digits(part), "timing": study.timing}
                given = {name: settings.get(name, parameter.default) for name, parameter in parameters.items()}
                name = names.get(label, f"study {study.name}, {study.vary}={label!r}")
                described = describe_run(self.code, given, fit)
                self.configurations.append(Configuration(label, name, given, fit, part, described, digest(described)))
        except LabError as error:
            raise study.error(error) from None
        self.refuse_twins({c.label: c.source for c in self.configurations})

    def missing(self) -> list[tuple[Configuration, int]]:
        """The runs that are neither found nor trained yet."""
        return [(c, seed) for c in self.configurations for seed in self.study.seeds if seed not in c.runs]

    def name_reason(self, paths: list[Path]) -> str:
        """Why runs are missing: in what the first of them differs from the nearest recorded one."""
        first, sources = self.missing()[0][0], {k: v for path in paths for k, v in files.read_sources(path).items()}
        own = [one for k, one in sources.items() if one["study"] == self.study.name and k[:16] in self.recorded]
        if first.source in self.recorded:
            return "these seeds are not in the record"
        if not own:
            return f"no run of this study in {paths[0].parent}/"
        return min(find_difference({"study": self.study.name, **first.description}, one) for one in own)[1]

    def find(self, own: list[Path]) -> None:
        """Look for the runs: by source in the study's own files and then in others; by key and probe in its own."""
        by_key: dict[str, list[tuple]] = {}
        for path in dict.fromkeys([*own, *(path for one in own for path in sorted(one.parent.glob("*.csv")))]):
            found = self._read(path, path in own, {c.source for c, _ in self.missing()})
            by_source = {(run[0]["source"].iloc[-1], run[0]["seed"].iloc[0]): run for run in reversed(found)}
            missing = [(c, seed) for c, seed in self.missing() if (c.source, seed) in by_source]
            for c, seed in missing:
                c.add(seed, *by_source[c.source, seed])
            self.found[path] = len(missing)
            for run in found if path in own else ():
                self.recorded.add(run[0]["source"].iloc[-1])
                by_key.setdefault(run[0]["key"].iloc[0], []).append(run)
        self.workers = min(self.workers, len(self.missing()))
        self._build(list(dict.fromkeys(c for c, _ in self.missing())))
        for c, seed in self.missing():
            recorded = by_key.get(digest(c.key, seed), [])
            same = [run for run in recorded if is_close(c.probe, run[0]["probe"].iloc[-1])]
            if same:
                c.add(seed, *same[0])
                self.found[own[0]] += 1
            elif recorded:
                fault = "Keras describes it as the recorded network, but its first losses or weight norms differ"
                self.notes.append(f"{self.study.vary} {c.label}: {fault}")
                c.key = digest(c.key, c.source)

    def _read(self, path: Path, own: bool, sources: set[str]) -> list[tuple]:
        """The runs of the study's own record; those of another if one of `sources` is there, since parsing is slow."""
        # seconds of another session do not compare, and a local run is not a recorded one
        unusable = self.study.timing or ((self.recording or not self.workers) and path.name.endswith(".local.csv"))
        try:
            text = "" if own or unusable or not sources else read_text(path)
            return files.read_runs(path, self.study.keep) if any(own or one in text for one in sources) else []
        except LabError as error:
            if own:
                raise
            self.notes.append(f"not searched: {error}")
            return []

    def _build(self, configurations: list[Configuration]) -> None:
        """Build each model once: to see that it can be trained, and to know its key and its probe."""
        if not configurations:
            return
        if self.workers and not self.recording and not find_client():  # workers import TensorFlow while this one does
            first, task = configurations[0], "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
            task += "; from mnist_lab.training import workers; workers.prepare_process()"
            if first.digits.loaded:
                task += f"; workers.find_digits{first.fit['data'], first.digits.loaded, len(first.digits.train)}"
            pool, tasks = Parallel(max(self.workers, 2)), [delayed(exec)(task)] * self.workers
            self.starting = ThreadPoolExecutor(1).submit(pool, tasks)
            print(f"{self.study.name}: some runs are not in the record for this code; building the networks to check")
        from mnist_lab.training.checks import PROBE_SEED, build_model, probe_model, seeded

        for c in configurations:
            with seeded(PROBE_SEED):
                c.model = build_model(self.study.build, c.settings, c.digits.train, c.name)
                c.key = find_key(c.model, self.code, c.source, c.fit)
                probe, metrics = probe_model(c.model, c.digits.train, c.name)
            if "accuracy" not in metrics:
                raise LabError(f'{c.name}: no metric is named accuracy; compile the model with metrics=["accuracy"]')
            c.probe = " ".join(f"{number:.6g}" for number in probe)
        self.refuse_twins({c.label: (c.key, c.probe) for c in configurations})
        keys = [c.key for c in configurations]
        for c in configurations:
            if keys.count(c.key) > 1:  # the difference between these is not in Keras's description, but in the probe
                c.key = digest(c.key, c.source)

    def refuse_twins(self, identities: dict[object, object]) -> None:
        """Raises LabError where two values have the same identity."""
        first: dict[object, object] = {}
        for label, identity in identities.items():
            if first.setdefault(identity, label) is not label:
                twins = f"{first[identity]!r} and {label!r}"
                raise self.study.error(f"{twins} give the same run: {self.study.vary} has no effect there; keep one")

    def train_missing(self, paths: list[Path], max_minutes: float) -> Iterator[tuple]:
        """Train what is missing; yield the rows and the probabilities (or None) of each run as it ends.

        Says first why and how long. Raises LabError if that is longer than `max_minutes`. `paths` are the study's.
        """
        if not self.missing():
            return
        from mnist_lab.training.checks import check_start, count_operations
        from mnist_lab.training.workers import estimate_seconds, in_words, train_all

        jobs, name, file = self.missing(), self.study.name, sys.stderr if self.recording else sys.stdout
        client = find_client()
        if client and (self.study.timing or not all(c.digits.loaded for c in self.configurations)):
            raise self.study.error("on a cluster, digits must come from lab.load_digits, and no times can be compared")
        workers = min(len(jobs), check_workers(client) if client else self.workers)
        for c in dict.fromkeys(c for c, _ in jobs):
            check_start(self.study.build, c.settings, c.digits.train, c.model, c.name)
            for module in self.code.modules:  # the user's own, as they are now
                cloudpickle.register_pickle_by_value(module)
            builder = cloudpickle.dumps((self.study.build, c.settings))
            digits, size = c.digits.loaded or c.digits, len(c.digits.train)  # loaded there: they would be 190 MB
            c.task = c.source, builder, c.fit, digits, size, self.study.keep
            c.seconds = estimate_seconds(c.fit, size, count_operations(c.model))
        found = "".join(f"{count} found in {path.name}, " for path, count in self.found.items() if count)
        reason = f"{found}{len(jobs)} run{'s' * (len(jobs) > 1)} to train: {self.name_reason(paths)}"
        seconds = max(sum(c.seconds for c, _ in jobs) / workers, *(c.seconds for c, _ in jobs)) + 10  # for their start
        cost = f"about {in_words(seconds)} on {workers} {'cluster ' * bool(client)}worker{'s' * (workers > 1)}"
        if seconds > 60 * max_minutes:
            advice = f"to start it: max_minutes={seconds / 60 + 1:.0f}, or fewer seeds, epochs or images"
            raise self.study.error(f"{reason}; {cost}{'' if self.recording else f'; {advice}'}")
        files.write_sources(paths[0], name, {c.source: c.description for c, _ in jobs})  # can it be written?
        self.notes += ["times recorded on another computer do not compare"] * bool(self.study.timing and found)
        for line in (*self.notes, reason, f"{cost}; stop when you like, finished runs are kept"):
            print(f"{name}: {line}", file=file)
        if self.starting:
            self.starting.exception()  # waits for it; a worker that was stopped meanwhile is started again
        for c, seed, history, probabilities in train_all(name, jobs, workers, seconds, file, client):
            epochs = range(1, c.fit["epochs"] + 1)
            rows = pd.DataFrame(history).assign(key=digest(c.key, seed), seed=seed, epoch=epochs, source="", probe="")
            rows.loc[rows.index[-1], ["source", "probe"]] = c.source, c.probe
            c.add(seed, rows, probabilities)
            yield c.runs[seed]

    def others(self, record: Path) -> list[str]:
        """The recorded runs that the study does not ask for."""
        asked = [rows["key"].iloc[0] for c in self.configurations for rows, _ in c.runs.values()]
        asked += [digest(c.key, seed) for c, seed in self.missing()]
        runs = files.read_record(record).drop_duplicates("key")
        return [f"{run.value}, seed {run.seed}" for run in runs.itertuples() if run.key not in asked]

    def rewrite(self, record: Path) -> None:
        """Put the runs in order in the record, under today's source; it holds no others from now on."""
        runs = [c.runs[seed] for c in self.configurations for seed in self.study.seeds]
        if self.study.keep:
            kept = {rows["key"].iloc[0]: probabilities for rows, probabilities in runs}
            files.write_probabilities(record, self.study.keep, kept, only=True)
        files.write_sources(record, self.study.name, {c.source: c.description for c in self.configurations})
        files.write_runs(record, tables := [rows for rows, _ in runs], only=True)
        if len(cpus := files.find_cpus(tables)) > 1:
            print(f"{self.study.name}: its runs come from {len(cpus)} kinds of CPU: {'; '.join(cpus)}", file=sys.stderr)
