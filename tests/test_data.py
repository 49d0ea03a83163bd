import hashlib

import numpy as np
import pytest

from mnist_lab import data
from mnist_lab.data import Digits, Split, check_digits, check_integer, cut_digits, digest_digits, load_digits
from mnist_lab.errors import LabError


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, np.float32(1), np.bool_(True)])
def test_a_number_that_is_no_integer_or_too_small_is_refused(value):
    check_integer("epochs", np.int64(1), 1)
    with pytest.raises(LabError) as error:
        check_integer("epochs", value, 1)
    assert str(error.value) == f"epochs must be an integer >= 1 (got {value!r})"


def test_pixels_and_labels_are_those_of_mnist():
    digits = load_digits("image", holdout=0)
    pixels = np.rint(digits.train.x * 255).astype(np.uint8).reshape(-1, 28, 28)
    # the published SHA-256 of x_train and y_train
    assert hashlib.sha256(pixels).hexdigest() == "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757"
    labels = digits.train.y.argmax(axis=1).astype(np.uint8)
    assert hashlib.sha256(labels).hexdigest() == "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"
    assert digits.train.x.dtype == digits.train.y.dtype == np.float32
    assert (digits.train.x.min(), digits.train.x.max()) == (0, 1)
    assert digits.train.y.shape == (60_000, 10)
    assert (digits.train.y.sum(axis=1) == 1).all()


def test_holdout_is_the_end_of_the_training_set_in_both_forms(flat):
    everything, held_out = load_digits("image", holdout=0), load_digits("flat", holdout=7)
    assert [len(held_out.train), len(held_out.val), len(held_out.test)] == [59_993, 7, 10_000]
    assert everything.train.x.shape == (60_000, 28, 28, 1)
    assert (held_out.val.x == everything.train.x[-7:].reshape(7, 784)).all()
    assert (held_out.val.y == everything.train.y[-7:]).all()
    assert [len(flat.train), len(flat.val)] == [50_000, 10_000]
    assert everything.val is everything.test


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "flatt"}, "form must be one of 'flat', 'image' (got 'flatt')"),
        ({"form": 3}, "(got 3)"),
        ({"holdout": -1}, "holdout must be an integer from 0 to 59,999 (got -1)"),
        ({"holdout": 60_000}, "(got 60000)"),
        ({"holdout": True}, "(got True)"),
    ],
)
def test_a_bad_argument_is_refused_in_one_line(arguments, message):
    with pytest.raises(LabError) as error:
        load_digits(**arguments)
    assert message in str(error.value)


def test_a_damaged_or_missing_file_is_an_error(tmp_path, monkeypatch):
    damaged = bytearray(data.FILE.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    monkeypatch.setattr(data, "FILE", tmp_path / "mnist.npz")
    monkeypatch.setattr(data, "_read_mnist", data._read_mnist.__wrapped__)
    with pytest.raises(LabError, match=r"mnist\.npz: cannot be read"):
        load_digits()
    data.FILE.write_bytes(damaged)
    with pytest.raises(LabError, match=r"mnist\.npz: damaged"):
        load_digits()


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_digits_that_cannot_be_trained_on_are_refused_by_the_name_of_the_split(part, few):
    splits = {name: getattr(few, name) for name in ("train", "val", "test")}
    x, y = splits[part].x, splits[part].y
    for split, message in (
        (Split(x[:0], y[:0]), "holds no images"),
        (Split(np.where(x == 0, np.nan, x), y), "must hold finite numbers"),
        (Split(x.astype(object), y), "must hold finite numbers"),
    ):
        with pytest.raises(LabError, match=f"study s: digits.{part} {message}"):
            check_digits(Digits(**splits | {part: split}), "study s")
    with pytest.raises(LabError, match=r"study s: digits.* has shapes \(\(.*\), but digits.train has"):
        check_digits(Digits(**splits | {part: Split(x[:, :9], y)}), "study s")
    with pytest.raises(LabError, match=r"must be what lab.load_digits returns \(got a tuple\)"):
        check_digits((x, y), "study s")
    with pytest.raises(LabError, match="one label per image .got 3 images, 2 labels"):
        Split(x[:3], y[:2])


def test_the_first_training_images_are_taken_and_never_more_than_there_are(few):
    part = cut_digits(few, 100)
    assert (part.train.x == few.train.x[:100]).all()
    assert (len(part.train), part.val, part.test) == (100, few.val, few.test)
    assert cut_digits(few, None) is cut_digits(few, 500) is few
    for size in (501, 0, -5, 1.5):
        with pytest.raises(LabError, match=rf"train_size must be .* \(got {size}\)"):
            cut_digits(few, size)


def test_the_digest_sees_each_pixel_and_label_and_which_split_it_is_in(few):
    x, y = few.test.x.copy(), few.test.y.copy()
    x[-1, -1] += 1e-6
    y[-1] = y[-1, ::-1]
    tests = few.test, Split(x, few.test.y), Split(few.test.x, y), few.val
    digests = [digest_digits(Digits(few.train, few.val, test)) for test in tests]
    assert len({*digests, digest_digits(Digits(few.train, few.test, few.val))}) == 5
    assert digest_digits(Digits(few.train[:], few.val, few.test)) == digests[0]
    changed = Digits(few.train, few.val, Split(x, few.test.y))
    before = digest_digits(changed)
    x[0, 0] += 1
    assert digest_digits(changed) != before
