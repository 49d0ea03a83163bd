"""A digit of one's own: a pad to draw on in a notebook, and the steps that made the pictures of MNIST."""

import os
from pathlib import Path

import numpy as np
from PIL import Image
from traitlets import Bool, Bytes, CBytes, List

from mnist_lab.data import load_digits
from mnist_lab.errors import LabError

try:
    from anywidget import AnyWidget
except ImportError:  # an extra
    AnyWidget = object

FOLDER = Path(__file__).with_name("templates") / "draw"


def center_digit(picture: np.ndarray) -> np.ndarray:
    """A drawing `(height, width)`, from 0 (paper) to 1 (ink), as MNIST has its digits: `(28, 28)`, float32.

    It is cropped, scaled to fit into 20 x 20 pixels, and placed so that its centre of mass is in the middle (LeCun,
    Cortes and Burges 1998). Raises LabError for an empty drawing.
    """
    picture = np.asarray(picture, np.float32)
    rows, columns = (np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        raise LabError("center_digit: nothing is drawn")
    cropped = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * side / max(cropped.shape))) for side in cropped.shape)
    small = np.asarray(Image.fromarray(cropped).resize((width, height), Image.Resampling.BILINEAR))  # it anti-aliases
    middle = (small.sum(axis=1) @ np.arange(height), small.sum(axis=0) @ np.arange(width)) / small.sum()
    top, left = np.clip(np.round(14 - middle), 0, (28 - height, 28 - width)).astype(int)
    centred = np.zeros((28, 28), np.float32)
    centred[top : top + height, left : left + width] = small
    return centred


class DigitPad(AnyWidget):
    """A square to draw in, with the probabilities that a Keras model gives to each digit, after every stroke.

    `model` takes images `(n, 784)` or `(n, 28, 28, 1)`; a switch decides whether they went through `center_digit`.
    Where nobody can draw (`mnist-lab run`, pytest) it shows `example`, `(28, 28)`. Raises LabError without anywidget.
    """

    _esm, _css = FOLDER / "pad.js", FOLDER / "pad.css"
    pixels = CBytes().tag(sync=True)  # the drawing, 140 x 140, a byte each; a browser sends a memoryview
    centred = Bool(True).tag(sync=True)
    picture = Bytes().tag(sync=True)  # what the model gets, 28 x 28, a byte each
    probabilities = List().tag(sync=True)

    def __init__(self, model, example: np.ndarray | None = None):
        if AnyWidget is object:
            raise LabError("DigitPad needs the package anywidget: pip install anywidget")
        super().__init__()
        self.example = load_digits("image").test.x[0, ..., 0] if example is None else example
        self.predict = lambda picture: np.asarray(model(picture.reshape(1, *model.input_shape[1:]), training=False))[0]
        self.observe(self._predict, ["pixels", "centred"])

    def _predict(self, change) -> None:
        if not any(self.pixels):  # nothing is drawn
            self.picture, self.probabilities = b"", []
            return
        drawing = np.frombuffer(self.pixels, np.uint8).reshape(140, 140) / np.float32(255)
        picture = center_digit(drawing) if self.centred else drawing.reshape(28, 5, 28, 5).mean(axis=(1, 3))
        self.picture = np.round(255 * picture).astype(np.uint8).tobytes()
        self.probabilities = self.predict(picture).tolist()

    def _repr_mimebundle_(self, **options):
        if os.environ.get("MNIST_LAB_MODE", "local") == "local":
            return super()._repr_mimebundle_(**options)
        from mnist_lab.figures import Answer
        from mnist_lab.plots import plot_digits

        pictures = {"raw": self.example, "centred": center_digit(self.example)}
        titles = [f"{name}: predicted {self.predict(picture).argmax()}" for name, picture in pictures.items()]
        still = Answer(plot_digits(np.array([*pictures.values()]), titles))  # folded: a reader predicts first
        return {"text/html": still._repr_html_(), "text/plain": "DigitPad"}
