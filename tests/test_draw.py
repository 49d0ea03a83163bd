import numpy as np
import pytest

from mnist_lab import draw
from mnist_lab.data import load_digits
from mnist_lab.errors import LabError
from mnist_lab.training.backend import keras


def make_pad(shape=(784,)):
    """A pad whose model answers with the ink in ten parts of the picture."""
    network = keras.Sequential([keras.Input(shape), keras.layers.Reshape((28, 28))])
    network.add(keras.layers.Lambda(lambda x: keras.ops.sum(x, axis=2)[:, 4:24:2]))
    return draw.DigitPad(network, np.eye(28))


def test_where_and_how_large_a_digit_is_drawn_makes_no_difference():
    seven = load_digits("image").test.x[0, ..., 0]
    for factor, place in ((1, (0, 0)), (1, (100, 7)), (3, (30, 40)), (5, (0, 0))):
        drawing, large = np.zeros((140, 140)), seven.repeat(factor, axis=0).repeat(factor, axis=1)
        drawing[place[0] : place[0] + len(large), place[1] : place[1] + len(large)] = large
        assert abs(draw.center_digit(drawing) - seven).max() < (0.01 if factor == 1 else 0.35)
    with pytest.raises(LabError, match="center_digit: nothing is drawn"):
        draw.center_digit(np.zeros((28, 28)))
    assert draw.center_digit(np.eye(1)).sum() > 0  # a single dot


@pytest.mark.parametrize("shape", [(784,), (28, 28, 1)])
def test_each_stroke_is_predicted_raw_or_centred(shape):
    pad, drawing = make_pad(shape), np.zeros((140, 140), np.uint8)
    pad.centred, pad.centred = False, True  # before anything is drawn
    drawing[0:50, 0:10] = 255  # in a corner
    pad.set_state({"pixels": memoryview(drawing.tobytes())})  # as a browser sends it
    centred = draw.center_digit(drawing / 255)
    np.testing.assert_allclose(pad.probabilities, centred.sum(axis=1)[4:24:2], rtol=1e-5)
    pad.centred = False
    raw = np.frombuffer(pad.picture, np.uint8).reshape(28, 28)
    assert (raw[:10, :2] == 255).all()
    assert raw.sum() == 255 * 20
    np.testing.assert_allclose(pad.probabilities, raw.sum(axis=1)[4:24:2] / 255)
    pad.pixels = bytes(140 * 140)  # cleared
    assert (pad.picture, pad.probabilities) == (b"", [])


def test_without_anywidget_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(draw, "AnyWidget", object)
    with pytest.raises(LabError, match="DigitPad needs the package anywidget: pip install anywidget"):
        make_pad()
