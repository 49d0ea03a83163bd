import hashlib

import numpy as np
import pytest

from mnist_lab import data
from mnist_lab.data import Split, check_whole, load_digits
from mnist_lab.errors import LabError


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.float32(1), np.bool_(True)])
def test_a_number_that_is_not_whole_or_too_small_is_told(value):
    check_whole("epochs", 1, 1)
    check_whole("epochs", np.int64(2), 1)
    with pytest.raises(LabError) as error:
        check_whole("epochs", value, 1)
    assert str(error.value) == f"epochs is {value!r}, but allowed is a whole number from 1"


def test_pixels_and_labels_are_those_of_mnist(flat):
    digits = load_digits("image", holdout=0)
    pixels = np.rint(digits.train.x * 255).astype(np.uint8).reshape(-1, 28, 28)
    # the published SHA-256 of x_train and y_train
    assert hashlib.sha256(pixels).hexdigest() == "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
    labels = digits.train.y.argmax(axis=1).astype(np.uint8)
    assert hashlib.sha256(labels).hexdigest() == "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"
    assert digits.train.x.dtype == digits.train.y.dtype == np.float32
    assert digits.train.x.min() == 0
    assert digits.train.x.max() == 1
    assert digits.train.y.shape == (60_000, 10)
    assert (digits.train.y.sum(axis=1) == 1).all()


def test_holdout_is_the_end_of_the_training_set(flat):
    all_60_000 = load_digits("flat", holdout=0)
    held_out = load_digits("flat", holdout=7)
    assert [len(held_out.train), len(held_out.val), len(held_out.test)] == [59_993, 7, 10_000]
    assert (held_out.val.x == all_60_000.train.x[-7:]).all()
    assert (held_out.val.y == all_60_000.train.y[-7:]).all()
    assert [len(flat.train), len(flat.val)] == [50_000, 10_000]
    assert all_60_000.val is all_60_000.test


def test_both_forms_hold_the_same_pixels(flat):
    image = load_digits("image")
    assert image.test.x.shape == (10_000, 28, 28, 1)
    assert (image.test.x.reshape(-1, 784) == flat.test.x).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"form": "flatt"}, "'flatt', but allowed are 'flat', 'image'"),
        ({"holdout": -1}, "-1, but allowed is a whole number from 0 to 59,999"),
        ({"holdout": 60_000}, "60000, but"),
        ({"holdout": 0.5}, "0.5, but"),
        ({"holdout": True}, "True, but"),
    ],
)
def test_a_bad_argument_is_told_in_one_line(arguments, told):
    with pytest.raises(LabError) as error:
        load_digits(**arguments)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_or_missing_file_is_told(tmp_path, monkeypatch):
    damaged = bytearray(data.FILE.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    monkeypatch.setattr(data, "FILE", tmp_path / "mnist.npz")
    with pytest.raises(LabError, match=r"mnist\.npz: cannot be read"):
        load_digits()
    data.FILE.write_bytes(damaged)
    with pytest.raises(LabError, match=r"mnist\.npz: damaged"):
        load_digits()


def test_a_split_has_as_many_labels_as_images():
    with pytest.raises(LabError, match="3 images and 2 labels"):
        Split(np.zeros((3, 784)), np.zeros((2, 10)))
