"""What the tests share: few digits, and a folder of their own to record in."""

import pytest

from mnist_lab.data import Digits, load_digits


@pytest.fixture(scope="session")
def flat():
    return load_digits("flat")


@pytest.fixture(scope="session")
def few(flat):
    return Digits(flat.train[:500], flat.val[:200], flat.test[:200])


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, in which runs are trained as a student's would be."""
    for folder in ("img", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "img" / "sources.json").write_text("{}")  # it has a record, without runs
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNIST_LAB_MODE", "local")
    return tmp_path
