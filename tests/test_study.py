import linecache
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import types
from contextlib import contextmanager

import numpy as np
import program
import pytest

from mnist_lab.data import Digits, Split
from mnist_lab.errors import LabError
from mnist_lab.record import read_record
from mnist_lab.study import Study, _configure, run
from mnist_lab.train import Trainer, keras

MLP = {"units": 8, "epochs": 2, "batch_size": 64}


def mlp(units, dropout=0.2, optimizer="adam", ignored=None):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units, activation="sigmoid")])
    network.add(keras.layers.Dropout(dropout))
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return network


def make_study(**changes):
    return Study(
        **{"name": "s", "build": mlp, "fixed": MLP, "vary": "dropout", "over": (0.1, 0.3), "seeds": (0, 1)} | changes
    )


def read_scores(path):
    return read_record(path).drop(columns=["seconds", "machine"]).sort_values(["key", "epoch"], ignore_index=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"over": ()}, "over is empty"),
        ({"over": 3}, "over is 3, but must be a tuple"),
        ({"over": (0.1, 0.1)}, "dropout=0.1 stands twice"),
        ({"over": {"a": 0.1}}, r"over\['a'\] is 0.1, but must be a dict"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (0, 0)}, "a seed stands twice"),
        ({"seeds": 3}, "seeds is 3, but must be whole numbers"),
        ({"seeds": (0.5,)}, "seed is 0.5, but"),
        ({"seeds": (-1,)}, "seed is -1, but"),
        ({"vary": "droput"}, "nobody takes the setting 'droput'; known are units, dropout"),
        ({"fixed": {"epochs": 2}}, "build needs the setting 'units'"),
        ({"fixed": MLP | {"epochs": "8"}}, "epochs is '8', but allowed is a whole number from 1"),
        ({"fixed": MLP | {"epochs": 0}}, "epochs is 0, but"),
        ({"fixed": MLP | {"batch_size": True}}, "batch_size is True, but"),
        ({"fixed": MLP | {"train_size": 0.5}}, "train_size is 0.5, but"),
        ({"fixed": 3}, "fixed is a int"),
        ({"build": lambda **settings: None}, "build takes \\*\\*settings, so a setting could be ignored"),
        ({"build": None}, "build is None"),
        ({"vary": 3}, "vary is 3, but must be the name of a setting"),
        ({"timing": "no"}, "timing is 'no', but allowed are True and False"),
        ({"keep": "train"}, "keep is 'train', but allowed are 'val', 'test' and None"),
        ({"name": "../s"}, "a study's name is '../s', but"),
        ({"over": (1, "1")}, "dropout='1' stands twice in over"),
        ({"build": int}, "build is <class 'int'>"),
        ({"over": (object(), 2)}, r"over holds <object object at 0x\w+>: give such values a label"),
        ({"over": ("a\rb", "c")}, r"over holds 'a\\rb', which cannot stand in a record"),
        ({"over": ("\ud800", "c")}, "which cannot stand in a record"),
    ],
)
def test_a_bad_study_is_told_in_one_line(changes, told):
    with pytest.raises(LabError, match=told) as error:
        make_study(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vary": "ignored"}, "0.1 and 0.3 give the same run: ignored changes nothing"),
        ({"vary": "train_size", "over": (400, 500, None)}, "500 and None give the same run"),
        ({"vary": "train_size", "over": (400, 501)}, "train_size is 501, but there are 500 training images"),
        ({"over": (0.1, "a")}, "study s, dropout='a': the builder fails"),
        ({"fixed": MLP | {"train_size": 501}}, "study s: train_size is 501"),
        ({"vary": "optimizer", "over": ("adam", "adan")}, "optimizer='adan': the builder fails"),
    ],
)
def test_a_study_that_cannot_run_trains_nothing(changes, told, few, project):
    with pytest.raises(LabError, match=told) as error:
        run(make_study(**changes), few)
    assert "\n" not in str(error.value)
    assert not list((project / "img").iterdir())


@contextmanager
def busy_machine():
    """Every core has two other things to do."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_runs_are_the_same_bits_however_they_are_trained(few, project, monkeypatch, capsys):
    """Two workers, one worker, a run alone; after a kill; borrowed; recorded; and only what is missing is trained."""
    results = run(make_study(), few, workers=2)
    assert "s: training 4 runs on 2 workers, about" in capsys.readouterr().out
    local = project / "img" / "s.local.csv"
    scores = read_scores(local)
    assert set(scores["seed"]) == {0, 1}
    assert results.curves("val_accuracy")[0.3].shape == (2, 2)

    run(make_study(), few)
    assert "training" not in capsys.readouterr().out

    lines = local.read_text().splitlines(keepends=True)
    local.write_text("".join(lines[:-1]))
    results = run(make_study(), few, workers=1)
    assert "training 1 run on 1 worker" in capsys.readouterr().out
    assert read_scores(local).equals(scores)

    run(make_study(name="other", over=(0.3, 0.1), seeds=(1,)), few)  # the same keys under another name
    assert capsys.readouterr().out == ""

    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    local.rename(project / "s.aside")
    record = project / "img" / "s.csv"
    alone = make_study(over=(0.3,), seeds=(1, 0))
    with busy_machine():
        run(alone, few, workers=1)
    monkeypatch.setattr("mnist_lab.study._recorded", {})
    run(make_study(), few, workers=2)
    assert read_scores(record).equals(scores)
    assert list(dict.fromkeys(zip(read_record(record)["value"], read_record(record)["seed"], strict=True))) == [
        ("0.1", 0), ("0.1", 1), ("0.3", 0), ("0.3", 1)
    ]  # fmt: skip
    monkeypatch.setattr("mnist_lab.study._recorded", {})
    capsys.readouterr()
    run(alone, few)  # what no study asks for any more is dropped
    assert "s: 2 runs that it does not ask for dropped from img/s.csv" in capsys.readouterr().err
    assert set(read_record(record)["value"]) == {"0.3"}

    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    with pytest.raises(
        LabError, match=r"2 runs \(0.1: seeds 0-1\) missing from .*s\.csv; train with: mnist-lab run --record"
    ):
        run(make_study(), few)
    monkeypatch.delenv("MNIST_LAB_MODE")  # under pytest nothing is trained, either
    with pytest.raises(LabError, match="2 runs"):
        run(make_study(), few)


def test_a_study_that_cannot_be_recorded_leaves_the_record_alone(few, project, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    optimizers = {name: {"optimizer": keras.optimizers.SGD(rate)} for name, rate in (("slow", 0.01), ("fast", 0.1))}
    study = {"fixed": MLP | {"epochs": 1}, "vary": "optimizer", "seeds": (0, 1)}
    run(make_study(**study, over=optimizers), few)
    before = (project / "img" / "s.csv").read_bytes()
    monkeypatch.setattr("mnist_lab.study._recorded", {})
    with pytest.raises(LabError, match="optimizer='sparse' cannot be trained"):
        run(make_study(**study, over={"sparse": {"optimizer": keras.optimizers.SGD(0.1, clipnorm="a")}}), few)
    assert (project / "img" / "s.csv").read_bytes() == before


def test_two_studies_of_one_name_do_not_overwrite_each_other(few, project, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    fixed = MLP | {"epochs": 1}
    run(make_study(name="twin", fixed=fixed, over=(0.1,), seeds=(0,)), few)
    with pytest.raises(LabError, match="another study of this name was recorded in"):
        run(make_study(name="twin", fixed=fixed, over=(0.2,), seeds=(0,)), few)


def test_a_recorded_run_is_trained_afresh_and_compared(few, project, monkeypatch, capsys):
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    run(make_study(), few)
    record = project / "img" / "s.csv"
    rows = read_record(record)
    lines = record.read_text().splitlines()
    values = lines[2].split(",")
    values[lines[0].split(",").index("val_loss")] = "2.5"
    noted = [f"{line},{note}" for line, note in zip(lines, ["mine", *"1" * 8], strict=True)]  # a column of one's own
    noted[2] = ",".join([*values, "1"])
    record.write_text("\n".join(noted))
    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    monkeypatch.setenv("MNIST_LAB_CHECK", ",".join(rows["key"].unique()[:3]))
    run(make_study(), few)
    told = capsys.readouterr().err
    assert told.count("equal to the last bit") == 2
    assert re.search(r"dropout=0.1, seed 0: val_accuracy .*; val_loss .*, recorded 2.5: [\d.]+ standard deviat", told)


def test_a_study_keeps_its_settings_when_the_notebook_changes_its_own():
    settings = dict(MLP)
    study = make_study(fixed=settings)
    settings |= {"units": 9}
    assert study.fixed == MLP


def test_what_varies_wins_over_what_is_fixed():
    study = make_study(fixed=MLP | {"dropout": 0.5})
    assert [settings["dropout"] for settings in study.settings.values()] == [0.1, 0.3]


def test_each_setting_of_the_training_and_each_seed_makes_another_run(few):
    varied = {"batch_size": (16, 32), "epochs": (1, 3), "train_size": (100, 200)}
    configurations = [c for vary, over in varied.items() for c in _configure(make_study(vary=vary, over=over), few)]
    assert len({c.key(seed=seed) for c in configurations for seed in (0, 1)}) == 12


def test_what_is_handed_over_in_the_wrong_order_is_told(few):
    with pytest.raises(LabError, match="run takes a Study and its digits, in this order, not a Digits"):
        run(few, make_study())
    with pytest.raises(LabError, match="study s: digits is a tuple"):
        run(make_study(), (few.train.x, few.train.y))


def test_kept_probabilities_are_the_answers_that_were_scored(few, project, monkeypatch, capsys):
    study = make_study(over=(0.3,), keep="test")
    run(make_study(over=(0.3,)), few)  # without probabilities, this does not do
    results = run(study, few)
    probabilities = results.probabilities[0.3]
    assert (probabilities.shape, probabilities.dtype) == ((2, 200, 10), np.float16)
    right = (probabilities.argmax(axis=2) == few.test.y.argmax(axis=1)).mean(axis=1)
    np.testing.assert_allclose(right, results.curves("test_accuracy")[0.3][:, -1], atol=1e-6)
    assert capsys.readouterr().out.count("training 2 runs") == 2
    assert np.array_equal(run(study, few).probabilities[0.3], probabilities)
    monkeypatch.setenv("MNIST_LAB_MODE", "record")
    run(study, few)
    monkeypatch.setenv("MNIST_LAB_MODE", "test")
    assert np.array_equal(run(study, few).probabilities[0.3], probabilities)
    assert np.array_equal(
        run(make_study(name="t", over=(0.3,), seeds=(1,), keep="test"), few).probabilities[0.3][0], probabilities[1]
    )
    (project / "img" / "s.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(LabError, match=r"s\.npz: cannot be read"):
        run(study, few)


def test_a_network_other_than_the_one_in_the_key_is_refused(few, project, monkeypatch):
    """A builder may read what a worker has another value of, or has not reloaded since it was changed."""
    monkeypatch.setattr(program, "UNITS", 64)  # here, not in the workers, which import the module themselves
    study = make_study(build=program.build_from_outside, fixed={"epochs": 1}, vary="rate", over=(0.1,))
    with pytest.raises(LabError, match="the builder returned another network than a moment ago"):
        run(study, few, workers=1)
    assert not list((project / "img").glob("*.csv"))


def test_a_network_that_a_notebook_makes_is_compared_with_the_one_in_the_key(few, project):
    """Also where a loss stands in a cell, whose text no file holds for the workers to read."""
    text = """
def loss(y_true, y_pred):
    return keras.ops.mean(abs(y_true - y_pred) ** POWER)


def build(rate):
    power = 2 if multiprocessing.parent_process() is None else 3
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
    network.compile(loss=types.FunctionType(loss.__code__, {**globals(), "POWER": power}, "loss"))
    return network
"""
    linecache.cache["cell 1"] = len(text), None, text.splitlines(keepends=True), "cell 1"
    cell = {"__name__": "__main__", "keras": keras, "multiprocessing": multiprocessing, "types": types}
    exec(compile(text, "cell 1", "exec"), cell)
    study = make_study(build=cell["build"], fixed={"epochs": 1}, vary="rate", over=(0.1,), seeds=(0,))
    with pytest.raises(LabError, match="the builder returned another network than a moment ago"):
        run(study, few, workers=1)


def test_weights_that_a_builder_sets_make_another_run(few, project, capsys):
    def build(bias):
        network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
        network.layers[0].bias.assign(np.full(10, bias))
        network.compile(loss="mse", metrics=["accuracy"])
        return network

    study = {"build": build, "fixed": {"epochs": 1}, "vary": "bias", "seeds": (0,)}
    losses = run(make_study(**study, over=(0.0, 1.0)), few).final("val_loss")
    assert losses[0.0] != losses[1.0]
    run(make_study(**study, over=(1.0,)), few)
    assert capsys.readouterr().out.count("training") == 1


def test_a_builder_that_returns_the_same_model_again_is_refused(few, project):
    study = {"fixed": {"epochs": 1}, "vary": "rate", "over": (0.1,), "seeds": range(3)}
    with pytest.raises(LabError, match="the builder returned a layer or a model that it had returned before"):
        run(make_study(build=program.build_once, **study), few, workers=1)


def test_what_cannot_be_sent_to_a_worker_is_refused(few, project):
    study = {"fixed": {"epochs": 1}, "vary": "x", "over": {"a": {}}, "seeds": range(3)}

    class Mine(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return keras.ops.abs(y_true - y_pred)

    def build(loss=Mine()):  # noqa: B008 (as a student would)
        network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
        network.compile(loss=loss)
        return network

    with pytest.raises(
        LabError, match=r"cannot be sent to a worker \(TypeError: Could not locate class 'Mine'\): make"
    ):
        run(make_study(build=build, **study), few)
    with pytest.raises(LabError, match="loss is a Mine, which cannot be copied: make it inside the builder"):
        run(make_study(build=build, **study | {"over": {"a": {"loss": Mine()}}}), few)


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_digits_that_cannot_be_scored_are_refused(few, project, name):
    splits = {n: getattr(few, n) for n in ("train", "val", "test")}
    broken = splits[name].x.copy()
    broken[0, 0] = np.nan
    for split, told in (
        (splits[name][:0], f"study s: digits.{name} holds no images"),
        (Split(broken, splits[name].y), f"study s: digits.{name} holds a pixel or label that is no number"),
        (Split(list(splits[name].x), list(splits[name].y)), f"digits.{name} must be a Split of two numpy arrays"),
        (
            Split(splits[name].x.astype(object), splits[name].y),
            f"digits.{name} must hold numbers, not object and float",
        ),
        (Split(splits[name].x[:, :9], splits[name].y), r"images and labels of shape \(\d+,\) and \(10,\), but"),
    ):
        with pytest.raises(LabError, match=told):
            run(make_study(), Digits(**splits | {name: split}))


def test_a_folder_that_cannot_be_written_is_told_before_training(few, project):
    (project / "img").rmdir()
    (project / "img").write_text("in the way")
    with pytest.raises(LabError, match=r"img.s\.csv: cannot be written \(.*\), so nothing is trained"):
        run(make_study(), few)


def test_files_that_are_no_records_do_not_stop_a_study(few, project, monkeypatch, capsys):
    (project / "img" / "grades.csv").write_text("name,grade\nme,1\n")
    study = make_study(over=(0.1,), seeds=(0,))
    run(study, few)
    assert "s: not looked into: img/grades.csv, line 1: no column key" in capsys.readouterr().out
    run(study, few)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("MNIST_LAB_MODE", "test")
    with pytest.raises(LabError, match=r"1 run .* missing from img.s\.csv; not looked into: img.grades\.csv, line 1"):
        run(study, few)
    with pytest.raises(LabError, match="a quick look, with seeds or train_size, is never recorded"):
        run(study, few, seeds=(1,))


def test_a_size_that_varies_is_not_cut_down(few, project):
    with pytest.raises(LabError, match="study s: train_size is what this study varies"):
        run(make_study(vary="train_size", over=(100, 200)), few, train_size=50)


def test_a_mode_that_is_none_is_told(few, project, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_MODE", "Replay")
    with pytest.raises(LabError, match="MNIST_LAB_MODE is 'Replay', but allowed are record, local, replay and test"):
        run(make_study(), few)


def test_a_worker_that_is_killed_is_told_in_one_line_and_what_was_finished_is_kept(few, project):
    def fatal(dropout):
        if dropout == 0.3 and multiprocessing.parent_process() is not None:
            os._exit(9)  # as the system does when memory runs out
        return mlp(8, dropout)

    study = {"build": fatal, "fixed": {"epochs": 1, "batch_size": 64}, "seeds": (0,)}
    with pytest.raises(LabError, match="s: a worker process was killed, perhaps for want of memory") as error:
        run(make_study(**study), few, workers=1)
    assert "\n" not in str(error.value)
    assert set(read_scores(project / "img" / "s.local.csv")["value"]) == {"0.1"}


def test_a_timing_study_measures_for_itself(few, project, capsys):
    study = {"over": (0.1,), "seeds": (0,)}
    first, timed = run(make_study(**study), few), run(make_study(**study, timing=True), few, workers=2)
    assert "training 1 run on 1 worker" in capsys.readouterr().out
    for metric in ("loss", "val_accuracy", "test_loss"):
        assert np.array_equal(first.curves(metric)[0.1], timed.curves(metric)[0.1], equal_nan=True)


def test_the_dtype_policy_is_followed_and_makes_another_run(few, project, capsys):
    study = make_study(over=(0.1,), seeds=(0,))
    full = run(study, few).final("val_loss")[0.1]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = run(study, few).final("val_loss")[0.1]
    finally:
        keras.config.set_dtype_policy("float32")
    assert capsys.readouterr().out.count("training 1 run") == 2
    assert half != full
    assert half == pytest.approx(full, rel=0.05)


def test_a_study_is_cut_down_by_one_argument(few, project, capsys):
    assert run(make_study(over=(0.1,)), few, seeds=[7]).curves("loss")[0.1].shape == (1, 2)
    whole = run(make_study(over=(0.1,), seeds=(7,)), few)
    part = run(make_study(over=(0.1,), seeds=(7,)), few, train_size=100)
    assert whole.final("val_loss") != part.final("val_loss")
    sliced = run(make_study(over=(0.1,), seeds=(7,)), Digits(few.train[:100], few.val, few.test))
    assert sliced.final("val_loss") == part.final("val_loss")
    assert capsys.readouterr().out.count("training 1 run") == 2


def test_the_scores_are_those_of_keras(few, project):
    """Clean figures are of the training images in inference mode, test figures of the test images, at the end."""
    history = run(make_study(over=(0.3,), seeds=(3,)), few).runs[0.3][0]
    keras.utils.set_random_seed(3)
    trainer = Trainer(mlp(8, 0.3), few.train, 64)
    trainer.fit(few.train, epochs=2, seed=3)
    for name, split in (("val", few.val), ("clean", few.train), ("test", few.test)):
        loss, accuracy = trainer.model.evaluate(split.x, split.y, verbose=0)
        assert history[f"{name}_loss"].iloc[-1] == pytest.approx(loss, rel=1e-4)
        assert history[f"{name}_accuracy"].iloc[-1] == pytest.approx(accuracy, abs=1e-6)


def test_a_student_sees_no_traceback_and_no_log_lines():
    program = """
        import mnist_lab as lab
        from mnist_lab import keras
        assert lab.LabError("told")._render_traceback_() == ["LabError: told"]
        keras.ops.add(1, 1)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert (told.stdout, told.stderr) == ("", "")


def test_what_needs_no_tensorflow_starts_without_it():
    modules = ("data", "record", "results", "judge", "conclusions", "plots", "__main__")
    program = f"import sys; from mnist_lab import {', '.join(modules)}; print('keras' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
