"""MNIST, from the file that ships with the package."""

import hashlib
import io
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from mnist_lab.errors import LabError

FILE = Path(__file__).with_name("mnist.npz")
SHA256 = "99b6212d8b734503d7fa2e29ea6413bad62226998e56555f4a6b0b30072f1aec"
SHAPES = {"flat": (784,), "image": (28, 28, 1)}


def check_integer(name: str, value: object, minimum: int, maximum: int | None = None) -> None:
    """Raises LabError for anything but an integer within the limits; True and 3.0 are none."""
    integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not integer or value < minimum or (maximum is not None and value > maximum):
        allowed = f">= {minimum}" if maximum is None else f"from {minimum} to {maximum:,}"
        raise LabError(f"{name} must be an integer {allowed} (got {value!r})")


@dataclass(frozen=True, eq=False)
class Split:
    """Images `x` and their one-hot labels `y`, row by row."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: slice) -> "Split":
        return Split(self.x[rows], self.y[rows])


@dataclass(frozen=True, eq=False)
class Digits:
    """Three splits: `train` to learn from, `val` to choose settings with, `test` for the last cell of a notebook."""

    train: Split
    val: Split
    test: Split
    loaded: tuple[str, int] | None = None  # the arguments of `load_digits` that gives the same


def load_digits(form: str = "flat", holdout: int = 10_000) -> Digits:
    """Load the 60,000 training and 10,000 test images of MNIST, read-only.

    Pixels are float32 in [0, 1], `(n, 784)` for `form="flat"` or `(n, 28, 28, 1)` for `form="image"`; labels are
    one-hot float32 rows of 10. The last `holdout` training images become `val`; with `holdout=0`, `val` is the test
    set. Raises LabError for an unknown form, a bad holdout, and a file that is missing or not the published one.
    """
    if not isinstance(form, str) or form not in SHAPES:
        raise LabError(f"load_digits: form must be one of {', '.join(map(repr, SHAPES))} (got {form!r})")
    check_integer("load_digits: holdout", holdout, 0, 59_999)
    train, test = (Split(split.x.reshape(-1, *SHAPES[form]), split.y) for split in _read_mnist())
    return Digits(train[: len(train) - holdout], train[-holdout:] if holdout else test, test, (form, holdout))


@cache
def _read_mnist() -> tuple[Split, Split]:
    content = FILE.read_bytes() if FILE.exists() else b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise LabError(f"{FILE}: missing or damaged (its SHA-256 is not that of MNIST); install the package again")
    splits, arrays = [], np.load(io.BytesIO(content))
    for name in ("train", "test"):
        x = (arrays[f"x_{name}"] / np.float32(255)).reshape(-1, 784)
        y = np.eye(10, dtype=np.float32)[arrays[f"y_{name}"]]
        x.flags.writeable = y.flags.writeable = False  # all cells of a notebook share them
        splits.append(Split(x, y))
    return tuple(splits)


def check_digits(digits: object, name: str) -> None:
    """Raises LabError, in one line that begins with `name`, for what no network can be trained on."""
    if not isinstance(digits, Digits):
        raise LabError(f"{name}: digits must be what lab.load_digits returns (got a {type(digits).__name__})")
    for part in () if digits.loaded else ("train", "val", "test"):
        x, y = (getattr(getattr(digits, part), axis, ()) for axis in "xy")
        if not len(x) == len(y) > 0:
            raise LabError(f"{name}: digits.{part} must be a lab.Split, one label per image (got {len(x)}, {len(y)})")
        if not all(hasattr(a, "dtype") and a.dtype.kind in "biuf" and np.isfinite(a).all() for a in (x, y)):
            raise LabError(f"{name}: digits.{part} must hold arrays of finite numbers, no nan, inf or text")


def cut_digits(digits: Digits, train_size: int | None) -> Digits:
    """The same digits with the first `train_size` training images alone (None: all). Raises LabError for too many."""
    if train_size in (None, len(digits.train)):
        return digits
    check_integer("train_size", train_size, 1, len(digits.train))
    return Digits(digits.train[:train_size], digits.val, digits.test, digits.loaded)


def digest_digits(digits: Digits) -> str:
    """A hash of all three splits; one that cannot be changed is read once."""
    splits = (digits.train, digits.val, digits.test)
    digests = [(_digest.__wrapped__ if s.x.flags.writeable or s.y.flags.writeable else _digest)(s) for s in splits]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=16)
def _digest(split: Split) -> str:
    digest = hashlib.sha256()
    for array in (split.x, split.y):
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()
