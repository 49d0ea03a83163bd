"""MNIST, from the file that ships with the package."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnist_lab.errors import LabError

FILE = Path(__file__).with_name("mnist.npz")
SHA256 = "99b6212d8b734503d7fa2e29ea6413bad62226998e56555f4a6b0b30072f1aec"
SHAPES = {"flat": (784,), "image": (28, 28, 1)}


def is_whole(value: object) -> bool:
    """Whether `value` is a whole number, which True and 3.0 are not."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_whole(what: str, value: object, least: int) -> None:
    """Raises LabError, in one line that begins with `what`, for anything but a whole number from `least`."""
    if not is_whole(value) or value < least:
        raise LabError(f"{what} is {value!r}, but allowed is a whole number from {least}")


@dataclass(frozen=True, eq=False)
class Split:
    """Images `x` and their one-hot labels `y`, row by row."""

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self):
        if len(self.x) != len(self.y):
            raise LabError(f"a Split needs as many labels as images, not {len(self.x)} images and {len(self.y)} labels")

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


def load_digits(form: str = "flat", holdout: int = 10_000) -> Digits:
    """Load the 60,000 training and 10,000 test images of MNIST.

    Pixels are float32 in [0, 1], `(n, 784)` for `form="flat"` or `(n, 28, 28, 1)` for `form="image"`; labels are
    one-hot float32 rows of 10. The last `holdout` training images become `val`. With `holdout=0` all 60,000 train and
    `val` is the test set, which is how the 2018 notebook chose its settings.

    Raises LabError for an unknown form, a bad holdout, and a file that is missing or not the published one (SHA-256).
    """
    if not isinstance(form, str) or form not in SHAPES:
        raise LabError(f"load_digits: form is {form!r}, but allowed are {', '.join(map(repr, SHAPES))}")
    if not is_whole(holdout) or not 0 <= holdout < 60_000:
        raise LabError(f"load_digits: holdout is {holdout!r}, but allowed is a whole number from 0 to 59,999")
    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise LabError(f"{FILE}: cannot be read ({error.strerror}); install the package again") from None
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise LabError(f"{FILE}: damaged (its SHA-256 is not that of MNIST); install the package again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        train, test = (
            Split(
                (arrays[f"x_{name}"] / np.float32(255)).reshape(-1, *SHAPES[form]),
                np.eye(10, dtype=np.float32)[arrays[f"y_{name}"]],
            )
            for name in ("train", "test")
        )
    if holdout == 0:
        return Digits(train, test, test)
    return Digits(train[:-holdout], train[-holdout:], test)
