import hashlib
from dataclasses import replace

import numpy as np
import pytest

from mnist_lab import data
from mnist_lab.data import Digits, Split, check_digits, digest_digits, load_digits
from mnist_lab.errors import LabError


def test_pixels_and_labels_are_those_of_mnist_and_holdout_is_their_end():
    digits, held_out = load_digits("image", holdout=0), load_digits("flat", holdout=7)
    train = digits.train
    content = np.rint(train.x * 255).astype(np.uint8), train.y.argmax(axis=1).astype(np.uint8)
    assert [hashlib.sha256(array).hexdigest() for array in content] == [  # as published of x_train and y_train
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ]
    assert (train.x.shape, train.x.dtype, train.y.dtype) == ((60_000, 28, 28, 1), np.float32, np.float32)
    assert (train.x.min(), train.x.max(), set(train.y.sum(axis=1))) == (0, 1, {1})
    assert digits.val is digits.test
    assert [len(held_out.train), len(held_out.val), len(held_out.test)] == [59_993, 7, 10_000]
    assert (held_out.val.x == train.x[-7:].reshape(7, 784)).all()
    assert (held_out.val.y == train.y[-7:]).all()


def test_bad_forms_and_holdouts_are_refused():
    with pytest.raises(LabError, match=r"form must be one of 'flat', 'image' \(got 'flatt'\)"):
        load_digits("flatt")
    for holdout in (-1, 60_000):
        with pytest.raises(LabError, match=rf"holdout must be an integer from 0 to 59,999 \(got {holdout}\)"):
            load_digits(holdout=holdout)


def test_a_damaged_or_missing_file_is_an_error(tmp_path, monkeypatch):
    damaged = bytearray(data.FILE.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.npz").write_bytes(damaged)
    monkeypatch.setattr(data, "_read_mnist", data._read_mnist.__wrapped__)
    for name in ("damaged.npz", "missing.npz"):
        monkeypatch.setattr(data, "FILE", tmp_path / name)
        with pytest.raises(LabError, match=rf"{name}: missing or damaged"):
            load_digits()


def test_digits_that_cannot_be_trained_on_are_refused_by_the_name_of_the_split(few):
    x, y = few.val.x, few.val.y
    for name, split, message in (
        ("train", x, "must be a lab.Split, one label per image .got 0, 0"),
        ("val", Split(x[:3], y[:2]), "must be a lab.Split, one label per image .got 3, 2"),
        ("test", Split(np.where(x == 0, np.nan, x), y), "must hold arrays of finite numbers"),
        ("test", Split(x.tolist(), y), "must hold arrays of finite numbers"),
    ):
        with pytest.raises(LabError, match=f"study s: digits.{name} {message}"):
            check_digits(replace(few, **{name: split}), "study s")


def test_digits_count_as_others_if_a_pixel_a_label_or_a_split_differs(few):
    x, y = few.test.x.copy(), few.test.y.copy()
    changed, same = replace(few, test=Split(x, few.test.y)), digest_digits(few)
    assert digest_digits(changed) == same
    x[-1, -1] += 1e-6
    y[-1] = y[-1, ::-1]
    others = changed, replace(few, test=Split(few.test.x, y)), Digits(few.train, few.test, few.val)
    assert len({same, *map(digest_digits, others)}) == 4
