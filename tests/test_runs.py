"""Runs: the same bits however they are trained, and only what is missing is trained."""

import re
from functools import partial

import pytest
from networks import make_network
from test_study import broken, count_trained, make_study, read_scores

from mnist_lab import LabError, keras
from mnist_lab.studies.record import read_record
from mnist_lab.studies.study import run


def mlp(units, dropout):
    """At a rate of 0.1 XLA compiles it; at 0.3 it has a layer for which XLA is not used."""
    layer = keras.layers.Dropout if dropout < 0.2 else keras.layers.GaussianDropout
    return make_network(keras.layers.Dense(units, activation="sigmoid"), layer(dropout))


make_both = partial(make_study, build=mlp)


def test_runs_have_the_same_bits_however_they_are_trained(few, project, monkeypatch, capsys):
    """Two workers, one, a run alone; after a kill; of another study; recorded; and only what is missing trains."""
    run(make_both(), few, workers=2)
    assert re.search(r"\rs: 4 of 4 runs trained in \d+ seconds\n$", capsys.readouterr().out)
    local = project / "img" / "s.local.csv"
    scores = read_scores(local)
    run(make_both(), few)
    assert count_trained(capsys.readouterr().out) == []

    lines = local.read_text().splitlines(keepends=True)
    local.write_text("".join(lines[:-1]))
    run(make_both(), few, workers=1)
    assert "3 found in s.local.csv, 1 run to train: these seeds are not in the record" in capsys.readouterr().out
    assert read_scores(local).equals(scores)

    run(make_both(name="other", over=(0.3, 0.1), seeds=(1,)), few)  # the same runs under another name
    assert count_trained(capsys.readouterr().out) == []

    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    local.rename(project / "s.aside")
    record = project / "img" / "s.csv"
    alone = make_both(over=(0.3,), seeds=(1, 0))
    run(alone, few, workers=1)
    run(make_both(), few, workers=2)
    assert read_scores(record).equals(scores)
    runs = read_record(record).drop_duplicates("key")
    assert list(zip(runs["value"], runs["seed"], strict=True)) == [("0.1", 0), ("0.1", 1), ("0.3", 0), ("0.3", 1)]
    before = record.read_bytes()
    with pytest.raises(LabError, match=r"s.csv holds 2 runs that .* not use \(0.1, seed 0; 0.1, seed 1\); .* --prune"):
        run(alone, few)
    assert record.read_bytes() == before
    monkeypatch.setenv("MNIST_LAB_MODE", "prune")
    run(alone, few)
    assert set(read_record(record)["value"]) == {"0.3"}

    (project / "s.aside").rename(local)  # which only its own student sees
    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    with pytest.raises(LabError, match=r"2 of 4 runs \(0.1\) missing from .*s\.csv; .*; train: mnist-lab"):
        run(make_both(), few)
    with pytest.raises(LabError, match="runs with seeds= or train_size= are not recorded"):
        run(make_both(), few, seeds=(1, 2))


def test_the_same_run_is_found_in_another_session_and_another_key_is_kept(few, project, capsys):
    """Weights that a builder sets are not in Keras's description: the two values must not overwrite each other."""
    build = "n = mlp(8); n.layers[0].bias.assign(np.full(8, float(dropout))); return n"
    study = {"fixed": {"epochs": 1}, "over": (0.0, 1.0), "seeds": (0,)}
    losses = run(make_study(build=broken(build), **study), few).final("val_loss")
    assert losses[0.0] != losses[1.0]
    assert run(make_study(build=broken(build), **study), few).final("val_loss") == losses
    assert count_trained(capsys.readouterr().out) == [2]


def test_a_probe_that_disagrees_is_named_and_nothing_is_taken(few, project, monkeypatch, capsys):
    """As after an upgrade that changes how the same network trains."""
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    study, record = make_study(over=(0.1,)), project / "img" / "s.csv"
    run(study, few)
    machine, source = read_record(record)[["machine", "source"]].iloc[-1]
    record.write_text(f'"{machine}, another"'.join(record.read_text().rsplit(f'"{machine}"', 1)))
    run(study, few)
    assert re.search("its runs come from 2 kinds of CPU: (.*); \\1, another", capsys.readouterr().err)
    record.write_text(record.read_text().replace(source, "0" * 16))
    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    run(study, few)  # by key and probe
    record.write_text(re.sub(r",2\.\d+ (\d.*)", r",9.9 \1", record.read_text()))
    with pytest.raises(LabError, match=r"2 of 2 runs .* missing .*dropout 0.1: .*first losses or weight norms differ"):
        run(study, few)
