import re
import shutil

import numpy as np
import pytest
from cells import define
from networks import make_network

from mnist_lab import LabError, keras
from mnist_lab.data import Digits
from mnist_lab.studies.record import read_record
from mnist_lab.studies.results import read_results
from mnist_lab.studies.study import Study, run
from mnist_lab.training.trainer import Trainer

MLP = {"units": 8, "epochs": 2, "batch_size": 64}


def mlp(units, dropout=0.2, optimizer="adam", unused=None):
    network = keras.Sequential([keras.Input((784,)), keras.layers.Dense(units, activation="sigmoid")])
    network.add(keras.layers.Dropout(dropout))
    network.add(keras.layers.GaussianNoise(0.1))  # so XLA is not used, which takes seconds to compile
    network.add(keras.layers.Dense(10, activation="softmax"))
    network.compile(optimizer=optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    return network


def make_study(**changes):
    usual = {"name": "s", "build": mlp, "fixed": MLP, "vary": "dropout", "over": (0.1, 0.3), "seeds": (0, 1)}
    return Study(**usual | changes)


def read_scores(path):
    rows = read_record(path).drop(columns=["seconds", "machine"])
    return rows.sort_values(["key", "epoch"], ignore_index=True)


def count_trained(text: str) -> list[int]:
    return [int(count) for count in re.findall(r"(\d+) runs? to train", text)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"over": 3}, r"over must be a tuple of values or a dict, at least one \(got 3\)"),
        ({"over": (1, "1")}, "'1' appears twice in `over`"),
        ({"over": {"a": 0.1}}, r"over\['a'\] must be a dict of settings"),
        ({"over": (object(), 2)}, "; use numbers, texts or tuples, or over={label"),
        ({"seeds": (0, 0)}, r"a seed appears twice in \(0, 0\)"),
        ({"seeds": 3}, r"seeds must be integers, such as range\(3\), at least one \(got 3\)"),
        ({"seeds": (0.5,)}, r"seed must be an integer from 0 to 4,294,967,295 \(got 0.5\)"),
        ({"vary": "droput"}, "unknown setting 'droput'; expected one of units, dropout"),
        ({"vary": "unused"}, "build ignores the setting 'unused': its code never uses it"),
        ({"fixed": {"epochs": 2}}, "build needs the setting 'units'"),
        ({"fixed": MLP | {"epochs": "8"}}, r"epochs must be an integer >= 1 \(got '8'\)"),
        ({"fixed": 3}, "fixed must be a dict"),
        ({"build": mlp(8)}, r"build must be a function that returns a model: mlp, not mlp\(\) \(got <Seq"),
        ({"build": keras.Sequential.from_config}, r"mlp, not mlp\(\) \(got <bound method"),
        ({"over": (1, 1.0)}, "1.0 appears twice in `over`"),
        ({"over": {0.1, 0.3}}, "over must be a tuple of values or a dict"),
        ({"keep": "train"}, "keep must be 'val', 'test' or None"),
        ({"name": "../s"}, "the name must be letters, digits and _"),
    ],
)
def test_a_bad_study_is_refused_in_one_line(changes, message):
    with pytest.raises(LabError, match=f"study .*{message}") as error:
        make_study(**changes)
    assert "\n" not in str(error.value)


def broken(build: str, **names):
    names |= {"keras": keras, "mlp": mlp, "make_network": make_network, "np": np}
    return define(f"def build(dropout):\n    {build}\n", **names)["build"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vary": "train_size", "over": (400, 500, None)}, "500 and None give the same run: train_size has"),
        ({"vary": "train_size", "over": (400, 501)}, r"train_size must be an integer from 1 to 500 \(got 501\)"),
        ({"vary": "optimizer", "over": ("adam", "adan")}, r"study s, optimizer='adan': build\(\) raised"),
        ({"build": broken("return mlp(8, 0 * dropout)")}, "0.1 and 0.3 give the same run: dropout has no effect"),
        ({"build": broken("mlp(8, dropout)")}, r"build\(\) must `return` .* \(got a NoneType"),
        ({"build": broken("n = mlp(8, dropout); return keras.Sequential(n.layers)")}, "the model is not compiled"),
        ({"build": broken("return make_network(keras.layers.Dropout(dropout), shape=(28, 28, 1))")},
         r"input has shape \(28, 28, 1\), but the data has \(784,\)"),
        ({"build": broken("n = keras.Sequential([keras.layers.Conv2D(8, 3)]); n.compile(); return n or dropout")},
         "the model does not fit the data: ValueError: .*expected min_ndim=4, found ndim=2"),
        ({"vary": "optimizer", "over": {"a": {"optimizer": keras.optimizers.SGD()}}}, "optimizer is a Keras object"),
        ({"build": broken("keras.utils.set_random_seed(7); return mlp(8, dropout)")},
         "the initial weights do not depend on the seed"),
        ({"build": broken("return mlp(next(numbers), dropout)", numbers=iter([8, 9]))}, "numbers is a .*iterator"),
        ({"build": broken("n = mlp(8, dropout); n.compile('adam', 'mse', metrics=['acc']); return n")},
         "no metric is named accuracy"),
        ({"build": broken("n = mlp(8, dropout); n.compile('adam', 'sparse_categorical_crossentropy'); return n")},
         "the labels are one-hot; use categorical_crossentropy"),
        ({"build": eval("lambda dropout: mlp(8, dropout)")}, "has no source text"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_run_trains_nothing(changes, message, few, project, capsys):
    changes = {"fixed": {"epochs": 1} if "build" in changes else MLP} | changes
    with pytest.raises(LabError, match=message) as error:
        run(make_study(**changes), few)
    assert "\n" not in str(error.value)
    assert "to train" not in capsys.readouterr().out
    assert not list((project / "img").glob("*.csv"))


def test_values_that_train_to_the_same_numbers_are_refused_when_they_are_there(few, project):
    text = "return make_network(keras.layers.Dense(8, kernel_regularizer=keras.regularizers.L2(1e-30 * dropout)))"
    for _ in range(2):  # trained, and from the record
        with pytest.raises(LabError, match=r"study s: 0.1 and 0.3 give the same run: dropout has no effect there"):
            run(make_study(build=broken(text), fixed={"epochs": 1}, seeds=(0,)), few)


def test_arguments_in_the_wrong_order_are_refused(few):
    with pytest.raises(LabError, match="run: expected a Study and its digits, in this order"):
        run(few, make_study())
    with pytest.raises(LabError, match=r"study s: digits must be what lab\.load_digits returns"):
        run(make_study(), (few.train.x, few.train.y))


def test_kept_probabilities_are_the_answers_that_were_scored(few, project, capsys):
    study = make_study(over=(0.3,), keep="test")
    run(make_study(over=(0.3,), seeds=(1,)), few)  # without probabilities, this does not do
    results = run(study, few)
    probabilities = results.probabilities[0.3]
    assert (probabilities.shape, probabilities.dtype) == ((2, 200, 10), np.float16)
    right = (probabilities.argmax(axis=2) == few.test.y.argmax(axis=1)).mean(axis=1)
    np.testing.assert_allclose(right, results.last("test_accuracy")[0.3], atol=1e-6)
    other = make_study(name="t", over=(0.3,), seeds=(1,), keep="test")
    assert np.array_equal(run(other, few).probabilities[0.3][0], probabilities[1])
    assert count_trained(capsys.readouterr().out) == [1, 2]
    (project / "img" / "s.local.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(LabError, match=r"s\.local\.npz: cannot be read"):
        run(study, few)


def test_a_folder_that_cannot_be_written_is_named_before_training(few, project, capsys):
    shutil.rmtree(project / "img")
    (project / "img").write_text("in the way")
    with pytest.raises(LabError, match=r"img.sources\.local\.json: cannot be written"):
        run(make_study(over=(0.1,)), few)
    assert "to train" not in capsys.readouterr().out


def test_a_file_that_is_no_record_is_named_and_does_not_stop_a_study(few, project, monkeypatch):
    (project / "img" / "grades.csv").write_text("name,grade\nJosé,1\n", encoding="latin-1")
    monkeypatch.setenv("MNIST_LAB_MODE", "replay")
    with pytest.raises(LabError, match=r"missing .*; not searched: .*grades\.csv, line 2: not UTF-8; .*; train"):
        run(make_study(), few)


def test_a_wrong_mode_or_number_of_workers_is_refused(few, project, monkeypatch):
    with pytest.raises(LabError, match=r"workers must be an integer from 1 to 999 \(got -1\)"):
        run(make_study(), few, workers=-1)
    monkeypatch.setenv("MNIST_LAB_MODE", "Replay")
    modes = "local, replay, record, prune, dry-run"
    with pytest.raises(LabError, match=rf"MNIST_LAB_MODE must be one of {modes} \(got 'Replay'\)"):
        run(make_study(), few)


def test_a_coarser_kind_of_number_makes_another_run(few, project):
    study = make_study(fixed=MLP | {"epochs": 1}, over=(0.1,), seeds=(0,))
    full = run(study, few).final("val_loss")[0.1]
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        half = run(study, few).final("val_loss")[0.1]
    finally:
        keras.config.set_dtype_policy("float32")
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


def test_a_study_is_cut_down_by_one_argument(few, project, capsys):
    assert run(make_study(over=(0.1,)), few, seeds=np.array([7])).curves("loss")[0.1].shape == (1, 2)
    study = make_study(fixed=MLP | {"epochs": np.int64(2)}, over=(0.1,), seeds=(7,))  # integers of numpy are integers
    full, part = run(study, few).final("val_loss"), run(study, few, train_size=100).final("val_loss")
    assert full != part == run(study, Digits(few.train[:100], few.val, few.test)).final("val_loss")
    assert count_trained(capsys.readouterr().out) == [1, 1]
    with pytest.raises(LabError, match=r"study s: its values set train_size; change it there"):
        run(make_study(vary="train_size", over=(100, 200), fixed=MLP | {"dropout": 0.1}), few, train_size=50)


def test_the_scores_are_those_of_keras_and_a_study_of_time_measures_for_itself(few, project, capsys):
    """Clean figures are of the training images in inference mode, test figures of the test images, at the end."""
    run(make_study(over=(0.3,), seeds=(3,)), few)
    history = run(make_study(over=(0.3,), seeds=(3,), timing=True), few, workers=2).runs[0.3][0]
    printed = capsys.readouterr().out
    assert count_trained(printed) == [1, 1]
    assert re.search(r"s: about \d+ seconds on 1 worker; stop when you like", printed)
    keras.utils.set_random_seed(3)
    trainer = Trainer(mlp(8, 0.3), few.train, 64)
    trainer.fit(few.train, epochs=2, seed=3)
    for name, split in (("val", few.val), ("clean", few.train), ("test", few.test)):
        loss, accuracy = trainer.model.evaluate(split.x, split.y, verbose=0)
        assert history[f"{name}_loss"].iloc[-1] == pytest.approx(loss, rel=1e-4)
        assert history[f"{name}_accuracy"].iloc[-1] == pytest.approx(accuracy, abs=1e-6)


def test_a_builder_that_has_changed_since_the_study_was_made_is_refused(few, project, monkeypatch, capsys):
    text, names = "def build(dropout):\n    return mlp(8, dropout)\n", {"mlp": mlp, "__name__": __name__}
    old, same, new = (define(one, **names)["build"] for one in (text, f"# a comment\n{text}", text.replace("8", "9")))
    study = make_study(build=old, fixed={"epochs": 1}, over=(0.1,), seeds=(0,))
    for now in (old, same):
        monkeypatch.setattr(f"{__name__}.build", now, raising=False)
        run(study, few)
    monkeypatch.setattr(f"{__name__}.build", new)
    with pytest.raises(LabError, match="study s: build has changed since this Study was made: run the Study's cell"):
        run(study, few)
    assert count_trained(capsys.readouterr().out) == [1]


def test_why_it_trains_is_said_again_after_a_stop(few, project, monkeypatch, capsys):
    run(make_study(over=(0.3,), seeds=(0,)), few)
    monkeypatch.setattr("mnist_lab.training.workers.train_all", lambda *args: 1 / 0)  # as if stopped there
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(make_study(over=(0.3,), seeds=(0,), fixed=MLP | {"units": 9}), few)
    assert capsys.readouterr().out.count("s: 1 run to train: units: 9 (recorded: 8)") == 2


def test_what_takes_long_does_not_start_unasked(few, project, capsys):
    study = make_study(fixed=MLP | {"epochs": 10_000_000}, over=(0.1,), seeds=range(2))
    advice = r"about .* hours on 2 workers; to start it: max_minutes=\d+"
    with pytest.raises(LabError, match=f"study s: 2 runs to train: no run of this study in img/; {advice}"):
        run(study, few, workers=2)
    with pytest.raises(LabError, match=r"about .* hours on 1 worker; to start it"):
        run(study, few, workers=16, seeds=(0,))
    assert not list((project / "img").glob("*.csv"))


@pytest.mark.parametrize("folder", ["elsewhere", "notebooks"])
def test_a_notebook_outside_of_the_project_finds_the_record(folder, tmp_path, monkeypatch):
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    for _ in range(2):
        assert list(read_results("mlp_final").runs) == ["chosen"]
        (tmp_path / "img").mkdir(exist_ok=True)  # as a run of one's own makes it
