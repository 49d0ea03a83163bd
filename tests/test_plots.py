import numpy as np
import pandas as pd
import pytest

from mnist_lab import plots
from mnist_lab.errors import LabError
from mnist_lab.judge import Claim, Conclusion, Estimate, Verdict
from mnist_lab.results import Results, spread


@pytest.fixture
def results():
    """Two values, three seeds, two epochs; the accuracies of value 5 lie 0.01 above those of value 1."""

    def make_run(value, seed):
        accuracy = 0.97 + 0.002 * value + 0.001 * seed + np.array([0, 0.003])
        return pd.DataFrame(
            {"epoch": [1, 2], "val_accuracy": accuracy, "clean_accuracy": accuracy + 0.005}
            | {"val_loss": 1 - accuracy, "clean_loss": 0.9 - accuracy / 2, "test_accuracy": [np.nan, accuracy[1] - 0.1]}
        )

    return Results("s", "depth", {value: [make_run(value, seed) for seed in range(3)] for value in (1, 5)})


def test_results_hold_what_was_recorded(results):
    np.testing.assert_allclose(results.curves("val_accuracy")[5], [[0.98, 0.983], [0.981, 0.984], [0.982, 0.985]])
    np.testing.assert_allclose(results.last()[5], [0.983, 0.984, 0.985])
    assert results.final() == {1: pytest.approx(0.976), 5: pytest.approx(0.984)}
    assert results.final("val_loss")[1] == pytest.approx(0.024)
    assert results.best() == 5
    assert results.best(within=0.007) == 5
    assert results.best(within=0.009) == 1
    assert Results("s", "depth", {1: results.runs[5], 5: results.runs[5]}).best() == 1  # the earlier one on a tie
    assert results.best(within=0.009) == 1
    with pytest.raises(LabError, match="best: within is -1, but allowed is a number from 0"):
        results.best(within=-1)
    with pytest.raises(LabError, match="s: no 'auc' was recorded, but val_accuracy"):
        results.curves("auc")


def test_results_with_numbers_missing_are_told(results):
    for run in results.runs[1]:
        run["val_accuracy"] = np.nan
    some = Results("s", "depth", dict(results.runs))
    assert list(some.table().columns) == [
        "seeds",
        "validation loss",
        "clean training accuracy (%)",
        "clean training loss",
    ]
    some.runs[1] = [run.assign(val_accuracy=[0.1, np.nan]) for run in some.runs[1]]  # it diverged
    assert some.best() == 5
    del some.runs[5]
    with pytest.raises(LabError, match="s: no value has a validation accuracy that is a number"):
        some.best()


def test_tables_are_rounded(results):
    assert repr(results.table("val_accuracy", "test_accuracy")).splitlines()[2].split() == [
        "1", "3", "97.60", "±", "0.10", "87.60", "±", "0.10"
    ]  # fmt: skip
    assert spread(np.array([0.5])) == "0.50"
    assert "97.60 ± 0.10" in results._repr_html_()


def test_a_line_and_every_seed_are_drawn_for_every_value(results):
    curves, seeds = plots.plot_curves(results, "hidden layers").axes[:2]
    assert [line.get_label() for line in curves.lines] == ["1", "5"]
    np.testing.assert_allclose(curves.lines[1].get_ydata(), [98.1, 98.4])
    np.testing.assert_allclose(curves.lines[1].get_xdata(), [1, 2])
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("epoch", "validation accuracy (%)")
    assert all(tick == round(tick) for tick in curves.get_xticks())
    np.testing.assert_allclose(seeds.lines[0].get_ydata(), [97.5, 97.6, 97.7])
    assert [label.get_text() for label in seeds.get_xticklabels()] == ["1", "5"]
    plots.show(plots.plot_curves(Results("s", r"$\frac$", {r"$\frac$": results.runs[1], "$": results.runs[5]})))
    clean = plots.plot_curves(results, clean=True).axes[0]
    np.testing.assert_allclose(clean.lines[3].get_ydata(), [98.6, 98.9])
    assert clean.lines[3].get_label() == "5, clean training"


def test_long_names_stand_once_below_the_seeds(results):
    runs = {"a name of some length": results.runs[1], "and another": results.runs[5]}
    upper, lower = plots.plot_curves(Results("s", "loss", runs)).axes[1::2]
    shown = [[tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks()] for axes in (upper, lower)]
    assert shown == [[False, False], [True, True]]


def test_a_study_chooses_what_is_drawn(results):
    axes = plots.plot_curves(results, metrics=("loss", "accuracy")).axes
    assert [a.get_ylabel() for a in axes[::2]] == ["validation loss", "validation accuracy (%)"]


def test_a_table_is_drawn_with_its_numbers_and_its_gaps():
    table = pd.DataFrame([[98.5, np.nan], [10.25, 99.0]], ["SGD", "Adam"], [0.1, 0.01])
    table = table.rename_axis("optimizer").rename_axis("learning rate", axis=1)
    axes = plots.plot_table(table).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}  # by column and row
    assert texts == {(0, 0): "98.50", (0, 1): "10.25", (1, 1): "99.00"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "optimizer")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["SGD", "Adam"]
    shades = axes.images[0].get_array()
    assert shades[0, 1] is np.ma.masked or np.isnan(shades[0, 1])
    assert shades[1, 0] < shades[0, 0] < shades[1, 1]
    assert [text.get_text() for text in plots.plot_table(pd.DataFrame([[3, 12]])).axes[0].texts] == ["3", "12"]


def test_one_value_shows_every_seed_as_a_line(results):
    figure = plots.plot_curves(Results("s", "epochs", {2: results.runs[5]}))
    assert len(figure.axes) == 2
    assert len(figure.axes[0].lines) == 4


def test_the_gap_is_drawn_for_every_seed(results):
    axes = plots.plot_gap(results).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "5"]
    drawn = [line.get_ydata() for line in axes.lines[:-1]]
    np.testing.assert_allclose(drawn, 0.5)  # a mean and three seeds, twice
    assert len(drawn) == 8


def test_verdicts_are_drawn_in_units_of_what_matters():
    over, under = (Claim("a less b", lambda: None, over, 0.2, "points", 0.1) for over in (True, False))
    found, judged = Estimate(0.5, 0.3, 0.6), {"reproduced": over, "contradicted": under}
    ledger = [Verdict(Conclusion(v[:3], "a is best", (), ()), v, claim, found, 5) for v, claim in judged.items()]
    axes = plots.plot_verdicts(ledger).axes[0]
    drawn = [line.get_xdata() for line in axes.lines[:4]]  # an interval and its estimate, twice
    for numbers, expected in zip(drawn, ([1, 4], [3], [-4, -1], [-3]), strict=True):
        np.testing.assert_allclose(numbers, expected)
    assert axes.yaxis_inverted()
    texts = [text.get_text() for text in axes.texts]
    assert texts[:2] == ["reproduced (5 seeds)", "rep: a is best"]
    assert texts[2] == "a less b over 0.2 points? +0.50 (95 % interval +0.30 to +0.60)"
    assert texts[3:5] == ["contradicted (5 seeds)", "con: a is best"]
    marks = {line.get_marker(): line.get_color() for line in axes.lines[1:4:2]}
    assert marks == {"o": "tab:green", "X": "tab:red"}


def test_a_figure_has_the_same_bytes_each_time(results, project):
    image = plots.save(plots.plot_curves(results), "s")
    assert (project / "img" / "s.png").read_bytes() == image.data
    assert plots.show(plots.plot_curves(results)).data == image.data
    with pytest.raises(LabError, match=r"the name is '\.\./s'"):
        plots.save(plots.plot_curves(results), "../s")


def test_the_gallery_shows_wrong_digits_as_they_were_handed_over(few):
    x, y = few.test.x, few.test.y.copy()
    y[0] = np.roll(y[0], 1)  # a label of our own, which no file holds
    probabilities = 0.9 * few.test.y + 0.01
    probabilities[5] = 0.05 + 0.5 * np.eye(10)[(few.test.y[5].argmax() + 2) % 10]
    figure = plots.plot_gallery(x, y, probabilities, seed=0)
    titles = [axes.get_title() for axes in figure.axes]
    true, swapped = few.test.y[0].argmax(), y[0].argmax()
    five = few.test.y[5].argmax()
    assert titles == [f"is {swapped} (1%)\nread as {true} (91%)", f"is {five} (5%)\nread as {(five + 2) % 10} (55%)"]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), x[0].reshape(28, 28))


def test_the_gallery_is_drawn_by_seed(few):
    guesses = np.eye(10)[np.zeros(200, int)]
    shown = [
        [
            axes.images[0].get_array().tobytes()
            for axes in plots.plot_gallery(few.test.x, few.test.y, guesses, seed).axes
        ]
        for seed in (0, 0, 1)
    ]
    assert shown[0] == shown[1] != shown[2]
    assert len(set(shown[0])) == 20


def test_the_gallery_says_what_it_cannot_show(few):
    with pytest.raises(LabError, match="all 200 digits right"):
        plots.plot_gallery(few.test.x, few.test.y, few.test.y, seed=0)
    with pytest.raises(LabError, match="200 images, 200 labels and 3 answers"):
        plots.plot_gallery(few.test.x, few.test.y, few.test.y[:3], seed=0)


def test_what_cannot_be_drawn_is_told(results, few, project):
    for draw, told in (
        (lambda: plots.plot_digits(few.test.x[:0]), "plot_digits: 0 images"),
        (lambda: plots.plot_digits(few.test.x[:3], titles=[1]), "plot_digits: 3 images and 1 titles"),
        (lambda: plots.plot_gallery(few.test.x, few.test.y.argmax(1), few.test.y, seed=0), "y must be one-hot"),
        (lambda: plots.plot_table(results.table()), "plot_table draws a table of numbers, and this one holds text"),
        (lambda: plots.save(plots.plot_gap(results), None), "save: the name is None"),
        (lambda: results.curves("epoch"), "s: no 'epoch' was recorded, but val_accuracy"),
    ):
        with pytest.raises(LabError, match=told):
            draw()
    assert len(plots.plot_digits(few.test.x[0]).axes) == 1  # a single image is one, too
