"""Which edits of a notebook replay from the shipped record, and which train anew."""

import importlib
import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from cells import define

import mnist_lab as lab
from mnist_lab import LabError, keras
from mnist_lab.data import load_digits
from mnist_lab.studies.identity import Code

ROOT = Path(__file__).parents[1]
SETTINGS = {"batch_size": 64, "epochs": 8}


def read_cell(notebook: str, beginning: str) -> str:
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    return next(cell.source for cell in cells if cell.source.startswith(beginning))


MLP = read_cell("1_mlp", "def mlp(")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A project with the shipped record alone, where nothing may be trained."""
    folder = tmp_path_factory.mktemp("shipped")
    for name in ("img", "notebooks"):
        (folder / name).mkdir()
    for name in ("mlp_dropout.csv", "cnn_loss.csv", "sources.json"):
        shutil.copy(ROOT / "img" / name, folder / "img")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MNIST_LAB_MODE", "replay")
        yield folder


def replay_mlp(text: str, fixed: dict = SETTINGS) -> str:
    """Run two values of the dropout study with another text of its builder; the message where runs are missing."""
    build = define(text, keras=keras, np=np)["mlp"]
    study = lab.Study("mlp_dropout", build, fixed, vary="dropout", over=(0.1, 0.2), seeds=range(20))
    try:
        results = lab.run(study, load_digits("flat"))
    except LabError as error:
        return str(error)
    assert results.table()["seeds"].tolist() == ["20", "20"]
    return "replayed"


def edit(old: str, new: str) -> str:
    assert old in MLP
    return MLP.replace(old, new)


@pytest.mark.parametrize(
    "text",
    [
        MLP.replace("network", "model"),
        edit("    for _", "    # layer by layer\n    for _"),
        edit("units, activation", "units, name=f'hidden_{_}', activation"),
        edit("dropout=0.2)", 'dropout=0.2, kind="sigmoid")').replace('activation="sigmoid"', "activation=kind"),
        "RATE = 0.01\n" + edit("0.01", "RATE"),
    ],
)
def test_an_edit_that_changes_nothing_replays(text, recorded):
    assert replay_mlp(text) == "replayed"


SET_WEIGHTS = "network.layers[0].set_weights([np.ones((784, 256)), np.ones(256)])"


@pytest.mark.parametrize(
    "text",
    [
        edit("0.01", "0.02"),
        edit('["accuracy"]', '["accuracy", "mae"]'),
        edit('"categorical_crossentropy"', '"mse"'),
        edit('"softmax"', '"softmax", use_bias=False'),
        edit("    return network", f"    {SET_WEIGHTS}\n    return network"),
        edit("    return network", "    network.layers[0].trainable = False\n    return network"),
    ],
)
def test_an_edit_that_changes_the_network_is_not_taken_from_the_record(text, recorded):
    message = replay_mlp(text)
    assert "study mlp_dropout: 40 of 40 runs (0.1, 0.2) missing from img/mlp_dropout.csv; " in message
    assert "(recorded: " in message
    assert "\n" not in message


def test_why_a_run_is_not_taken_from_the_record_is_said(recorded):
    assert "; epochs: 7 (recorded: 8); " in replay_mlp(MLP, SETTINGS | {"epochs": 7})
    assert "; batch_size: 32 (recorded: 64); " in replay_mlp(MLP, SETTINGS | {"batch_size": 32})
    added = edit("dropout=0.2)", "dropout=0.2, rate=0.02)").replace("=0.01", "=rate")
    assert "; rate: 0.02 (recorded: " in replay_mlp(added)
    layer = "network.add(keras.layers.Dense(units, activation='{}'))"
    reason = "; {} (recorded: {}); ".format(layer.format("relu"), layer.format("sigmoid"))
    assert reason in replay_mlp(edit('"sigmoid"', '"relu"'))


def test_a_custom_loss_counts_by_its_text_and_by_what_it_uses(recorded):
    names = ("def feature_layers(", "def classifier_layers(", "def cnn(", "def binary_crossentropy(")
    cells = [read_cell("2_cnn", name) for name in names]
    fixed = {"kernel_size": 5, "batch_size": 32, "epochs": 4, "optimizer": "Adadelta", "learning_rate": 1.0}

    def replay(text: str) -> bool:
        scope = define("\n\n".join([*cells[:3], text]), keras=keras)
        over = {"binary_crossentropy": {"loss": scope["binary_crossentropy"]}}
        study = lab.Study("cnn_loss", scope["cnn"], fixed, vary="loss", over=over, seeds=range(5))
        try:
            lab.run(study, load_digits("image"))
        except LabError as error:
            return "missing from" not in str(error)
        return True

    unused = "\n\ndef unused():\n    return 1"
    same = cells[3].replace("1.0 * answers", "(1.0*answers)").replace("    return", "    # a sum\n    return")
    assert replay(same + unused)
    assert not replay(cells[3].replace("1.0 *", "1.0001 *"))
    assert not replay("FACTOR = 1.0001\n\n\n" + cells[3].replace("1.0 *", "FACTOR *"))


def test_a_change_in_a_module_of_the_users_own_is_noticed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own").mkdir()  # without __init__.py
    texts = []
    for units in (4, 40):
        (tmp_path / "own" / "sub.py").write_text(f"UNITS = {units}\n\n\ndef count():\n    return {units}\n")
        module = importlib.reload(importlib.import_module("own.sub"))
        scope = define("def build():\n    return own.sub.count()", own=sys.modules["own"])
        texts.append((Code(scope["build"]).text, Code(module.count).text))
        constant = Code(define("def build():\n    return own.sub.UNITS", own=sys.modules["own"])["build"])
        assert module in constant.modules  # it goes to the workers as it is now
    assert all(first != second for first, second in zip(*texts, strict=True))
