import os
from pathlib import Path

import pytest

from mnist_lab.errors import LabError
from mnist_lab.files import find_images, lock, read_text, replace_file


def test_the_project_is_the_nearest_folder_with_notebooks_or_img(tmp_path, monkeypatch):
    (tmp_path / "notebooks" / "more").mkdir(parents=True)
    for folder, images in ((".", "img"), ("notebooks", "../img"), ("notebooks/more", "../../img")):
        monkeypatch.chdir(tmp_path / folder)
        assert find_images() == Path(images)
    Path("img").mkdir()
    assert find_images() == Path("img")


def test_a_text_that_is_missing_or_of_another_encoding_is_named(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(LabError, match=r"a\.csv: cannot be read \(No such file"):
        read_text(path)
    path.write_bytes(b"a\nb\xfc\n")
    with pytest.raises(LabError, match=r"a\.csv, line 2: not UTF-8; save the file as UTF-8"):
        read_text(path)


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
