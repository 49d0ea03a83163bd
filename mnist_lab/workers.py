"""Trains runs in worker processes, one thread each: so a run has the same bits whoever trains beside it."""

import math
import os
import pickle
import platform
import signal
import sys
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import cloudpickle
from joblib import Parallel, delayed
from tqdm import tqdm as terminal_tqdm
from tqdm.auto import tqdm

from mnist_lab.data import Digits
from mnist_lab.describe import describe_model, differs
from mnist_lab.errors import LabError
from mnist_lab.record import MACHINE
from mnist_lab.source import texts
from mnist_lab.start import check_new
from mnist_lab.train import Trainer, build_model, keras, one_line, prepare, to_tensors, use_one_thread

# joblib replaces a worker that has grown much, which keeps memory in bounds and loses nothing: no news for a reader
warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
warnings.filterwarnings("ignore", r"\d+ tasks which were still being processed")  # when a run fails, and is told

CLEAN = 10_000  # training images that are looked at again in inference mode
CACHED_TRAINERS = 3


@dataclass(frozen=True, eq=False)
class Configuration:
    """One value of a study's setting, made ready to train: only the seed is missing."""

    label: object
    where: str  # it stands, for a message: "study mlp_depth, depth=7"
    build: Callable
    settings: dict
    epochs: int
    batch_size: int
    digits: Digits
    digest: str  # of the digits
    key: Callable[..., str]
    seconds: float  # that one run may take, a guess
    keep: str | None  # the split, "val" or "test", whose probabilities come back with the history


def train_all(name: str, missing: list, workers: int, terminal: bool) -> Iterator[tuple]:
    """Train the missing pairs of a configuration and a seed; yield each, its history and probabilities as it ends.

    Says how many and about how long, then shows a bar with the time left, in the notebook or (`terminal`) on stderr.
    Raises LabError, before any run starts, for a model that cannot be trained.
    """
    if not missing:
        return
    sent = {}
    for c in dict.fromkeys(configuration for configuration, _ in missing):
        model = build_model(c.build, c.settings, c.digits.train, c.where)
        check_new(model, c.where)
        prepare(model, c.digits.train, c.where)
        # apart, since an optimizer among the settings starts TensorFlow where it is unpickled
        try:
            builder = cloudpickle.dumps((c.build, c.settings, texts))
            pickle.loads(builder)
        except Exception as error:
            told, *_ = one_line(error).split(". ")
            raise LabError(
                f"{c.where}: what the builder uses from outside cannot be sent to a worker ({told}): make it inside"
            ) from None
        sent[c] = replace(c, label=None, build=None, settings=None), builder
    runs = _share_compilers(missing, workers)
    guess = [configuration.seconds + 1 for configuration, _ in runs]
    print(
        f"{name}: training {len(runs)} {'runs' if len(runs) > 1 else 'run'} on {workers} "
        f"{'workers' if workers > 1 else 'worker'}, about {_round_time(sum(guess) / workers + 10)}",
        file=sys.stderr if terminal else sys.stdout,
        flush=True,
    )
    policy = keras.config.dtype_policy().name
    tasks = (delayed(_train_one)(number, *sent[c], seed, policy) for number, (c, seed) in enumerate(runs))
    # joblib would train in this very process where one job is asked for: of two workers, only one is given work then
    in_flight = 1 if workers == 1 else "2*n_jobs"
    results = Parallel(max(workers, 2), batch_size=1, pre_dispatch=in_flight, return_as="generator_unordered")(tasks)
    layout = "{desc}: {percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
    make_bar = terminal_tqdm if terminal else tqdm
    with make_bar(total=sum(guess), desc=name, bar_format=layout, postfix=f"0 of {len(runs)} runs", leave=False) as bar:
        for done, (number, history, probabilities) in enumerate(_told_if_killed(name, results), 1):
            configuration, seed = runs[number]
            if isinstance(history, str):
                raise LabError(f"{configuration.where}, seed {seed}: {history}")
            yield configuration, seed, history, probabilities
            bar.set_postfix_str(f"{done} of {len(runs)} runs", refresh=False)
            bar.update(guess[number])


def _told_if_killed(name: str, results: Iterator) -> Iterator:
    try:
        yield from results
    except BrokenProcessPool:
        raise LabError(
            f"{name}: a worker process was killed, perhaps for want of memory; every finished run is kept, so run "
            "again, with fewer workers if it happens again"
        ) from None


def _share_compilers(missing: list, workers: int) -> list:
    """Order the runs so that each worker stays with the configurations it has compiled, the long ones first."""
    by_configuration: dict[Configuration, list] = {}
    for configuration, seed in missing:
        by_configuration.setdefault(configuration, []).append((configuration, seed))
    costly = sorted(by_configuration.values(), key=lambda runs: -runs[0][0].seconds)
    ordered = []
    for first in range(0, len(costly), workers):
        rounds = zip_longest(*reversed(costly[first : first + workers]))
        ordered += [run for turn in rounds for run in turn if run is not None]
    return ordered


def _round_time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 90 * 60 else f"{seconds / 3600:.1f} hours"


# of this worker process: the data it trained on last, and the trainers it used last
_digits: dict[str, Digits] = {}
_trainers: OrderedDict[str, Trainer] = OrderedDict()


def _train_one(number: int, configuration: Configuration, builder: bytes, seed: int, policy: str) -> tuple:
    """One run, in a worker process: its history with the test scores, and the probabilities to keep, if any.

    What goes wrong comes back in one line, in the place of the history.
    """
    try:
        _leave_with_parent()
        use_one_thread()
        keras.backend.clear_session(free_memory=False)  # else the names of metrics count up from run to run
        keras.config.set_dtype_policy(policy)  # which a cleared session has forgotten
        keras.utils.set_random_seed(int(seed))
        digits = _cached_digits(configuration)
        build, settings, sent = pickle.loads(builder)
        texts.update(sent)
        model = build_model(build, settings, digits.train, "")
        _compare_with_key(model, configuration)
        trainer = _cached_trainer(configuration, model, digits)
        evaluate = {"val": digits.val, "clean": digits.train[:CLEAN]}
        history = trainer.fit(digits.train, epochs=configuration.epochs, seed=seed, evaluate=evaluate)
        before_last = configuration.epochs - 1
        for metric, score in trainer.evaluate(digits.test).items():
            history[f"test_{metric}"] = [math.nan] * before_last + [score]
        kept = trainer.predict(getattr(digits, configuration.keep)) if configuration.keep else None
        return number, history | {MACHINE: [""] * before_last + [_name_machine()]}, kept
    except Exception as error:
        return number, one_line(error).removeprefix(": "), None


def _compare_with_key(model, configuration: Configuration) -> None:
    """See that a model built here is the one that was built for the key. Raises LabError if not."""
    try:
        told = describe_model(model)
    except LabError:
        return  # Keras cannot tell of a lambda as an activation where its text is not: it came with the builder
    known = configuration.key.keywords["model"]
    changed = differs(told, {name: known[name] for name in known if name != "start"})  # which is the parent's matter
    if changed:
        raise LabError(
            f"the builder returned another network than a moment ago ({changed} differs); what it returns must depend "
            "on its settings alone (if it stands in a module that was changed since, restart the kernel)"
        )


@cache
def _leave_with_parent() -> None:
    """End this process soon after its parent is killed: it would train on for nobody otherwise."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # sent to all at once, it is the parent's to answer
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _cached_digits(configuration: Configuration) -> Digits:
    """The digits in TensorFlow's memory, one set at a time: they are the most of what a worker holds."""
    if configuration.digest not in _digits:
        _digits.clear()
        splits = configuration.digits
        _digits[configuration.digest] = Digits(*map(to_tensors, (splits.train, splits.val, splits.test)))
    return _digits[configuration.digest]


def _cached_trainer(configuration: Configuration, model, digits: Digits) -> Trainer:
    """A trainer that starts where `model` stands: one compiled for an equal model, else a new one."""
    key = configuration.key(seed=None)
    if key in _trainers:
        _trainers.move_to_end(key)
        _trainers[key].restart(model)
    else:
        _trainers[key] = Trainer(model, digits.train, configuration.batch_size)
        while len(_trainers) > CACHED_TRAINERS:
            _trainers.popitem(last=False)
    return _trainers[key]


def _name_machine() -> str:
    packages = [f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy")]
    try:
        lines = [line.split(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        about = {name.strip(): told[0].strip() for name, *told in reversed(lines) if told}
        wide = ", AVX-512" if "avx512f" in about["flags"].split() else ""  # the name alone says little of a kind of CPU
        cpu = f"{about['model name']} (family {about['cpu family']}, model {about['model']}{wide})"
    except (OSError, KeyError):
        cpu = platform.processor() or platform.machine()
    return f"python {platform.python_version()}, {', '.join(packages)}, {cpu}"
