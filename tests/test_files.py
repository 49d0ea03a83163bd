import os
from pathlib import Path

import pytest

from mnist_lab.errors import LabError
from mnist_lab.files import find_images, find_project, lock, read_text, replace_file


def test_the_project_is_the_nearest_folder_with_notebooks_or_img(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (find_project().resolve(), find_images()) == (tmp_path, Path("img"))  # outside a project
    (tmp_path / "notebooks" / "more").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for folder, images in (("notebooks", "../img"), ("notebooks/more", "../../img"), ("elsewhere", "../img")):
        monkeypatch.chdir(tmp_path / folder)
        assert (find_project().resolve(), find_images()) == (tmp_path, Path(images))
    (tmp_path / "elsewhere" / "img").mkdir()
    assert find_images() == Path("img")


def test_text_is_read_without_the_mark_that_a_spreadsheet_adds_and_other_bytes_are_named_by_line(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(LabError, match=r"a\.csv: cannot be read \(No such file"):
        read_text(path)
    path.write_bytes("\ufeffü\r\n".encode())
    assert read_text(path) == "ü\r\n"
    path.write_bytes(b"a\nb\xfc\n")
    with pytest.raises(LabError, match=r"a\.csv, line 2: not UTF-8; save the file as UTF-8"):
        read_text(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")

    def fail(file):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LabError, match=r"a\.csv: cannot be written \(disk full\); the old file is unchanged"):
        replace_file(path, b"new")
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("a.csv", b"old")]


def test_a_folder_that_is_missing_is_made_and_one_that_cannot_be_is_an_error(tmp_path):
    with lock(tmp_path / "img" / "s.csv"):
        replace_file(tmp_path / "img" / "s.csv", b"new")
    assert (tmp_path / "img" / "s.csv").read_bytes() == b"new"
    for folder in ("img/s.csv", "no/such"):
        with pytest.raises(LabError, match=r"t\.csv: cannot be written"), lock(tmp_path / folder / "t.csv"):
            pass
