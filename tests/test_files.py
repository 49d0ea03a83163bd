import os

import pytest

from mnist_lab.errors import LabError
from mnist_lab.files import lock, replace_file


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "img" / "a.csv"
    with lock(path):  # makes the folder
        replace_file(path, b"old")

    def fail(file):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LabError, match=r"a\.csv: cannot be written \(disk full\); the old file is unchanged"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert not list(path.parent.glob("*.new"))
