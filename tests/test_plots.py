from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mnist_lab import figures, plots
from mnist_lab.errors import LabError
from mnist_lab.judging.judge import Claim, Conclusion, Verdict
from mnist_lab.judging.stats import Estimate
from mnist_lab.studies.results import Results


@pytest.fixture
def results():
    """Two values, three seeds, two epochs; the validation accuracies of value 5 are 98.0 to 98.2 %, then 0.3 higher."""

    def make_run(value, seed):
        accuracy = 0.97 + 0.002 * value + 0.001 * seed + np.array([0, 0.003])
        scores = {"val_accuracy": accuracy, "clean_accuracy": accuracy + 0.005}
        return pd.DataFrame(scores | {"val_loss": 1 - accuracy, "clean_loss": 0.9 - accuracy / 2})

    return Results("s", "depth", {value: [make_run(value, seed) for seed in range(3)] for value in (1, 5)})


def test_curves_show_a_line_per_value_and_a_dot_per_seed(results):
    curves, seeds = plots.plot_curves(results, "hidden layers", training=True).axes[:2]
    assert [line.get_label() for line in curves.lines] == [
        "1, validation",
        "5, validation",
        "1, training",
        "5, training",
    ]
    np.testing.assert_allclose(curves.lines[1].get_xydata(), [[1, 98.1], [2, 98.4]])
    np.testing.assert_allclose(curves.lines[3].get_ydata(), [98.6, 98.9])
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("epoch", "accuracy (%)")
    assert all(tick == round(tick) for tick in curves.get_xticks())
    np.testing.assert_allclose(seeds.lines[0].get_ydata(), [97.5, 97.6, 97.7])
    assert [label.get_text() for label in seeds.get_xticklabels()] == ["1", "5"]
    chosen = plots.plot_curves(results, metrics=("loss", "accuracy")).axes
    assert [axes.get_ylabel() for axes in chosen[::2]] == ["validation loss", "validation accuracy (%)"]
    single = plots.plot_curves(Results("s", "epochs", {2: results.runs[5]}))  # each seed is a line
    assert [len(axes.lines) for axes in single.axes] == [4, 4]


def test_long_names_are_in_the_legend_alone(results):
    runs = {"a name of some length": results.runs[1], "and another": results.runs[5]}
    figure = plots.plot_curves(Results("s", "loss", runs))
    shown = [[tick.label1.get_visible() for tick in axes.xaxis.get_major_ticks()] for axes in figure.axes[1::2]]
    assert shown == [[False, False], [False, False]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(runs)


def test_a_text_says_what_a_figure_shows(results, few):
    numbers = "validation accuracy (%) at the last epoch, mean over seeds, by depth: 1: 97.60, 5: 98.40."
    assert numbers in plots.plot_curves(results).alt
    assert numbers in plots.plot_seeds(results, "val_accuracy").alt
    assert (
        "validation accuracy (pp) at the last epoch, mean over seeds, by depth: 1: 0.50, 5: 0.50."
        in plots.plot_gap(results).alt
    )
    assert "Adam, 0.1: 98.50" in plots.plot_table(pd.DataFrame([[98.5]], ["Adam"], [0.1])).alt
    assert plots.plot_digits(few.test.x[:2], ["a", "b\nc"]).alt == "2 images of digits: a; b, c"
    assert plots.plot_gap(results)._repr_png_()[1]["alt"] == plots.plot_gap(results).alt


def test_an_unordered_setting_has_colours_of_its_own(results):
    unordered = Results("s", "v", {"with": results.runs[1], "without": results.runs[5]})
    lines, named = (plots.plot_gap(shown).axes[0].lines for shown in (results, unordered))
    assert [line.get_color() for line in named[:2]] == list(plots.UNORDERED[:2])
    np.testing.assert_allclose(lines[0].get_color(), plots.matplotlib.colormaps["viridis"](0))


def test_a_table_shows_its_numbers_and_leaves_gaps_empty():
    table = pd.DataFrame([[98.5, np.nan], [10.25, 99.0]], ["SGD", "Adam"], [0.1, 0.01])
    axes = plots.plot_table(table.rename_axis("optimizer").rename_axis("learning rate", axis=1)).axes[0]
    texts = {text.get_position(): text.get_text() for text in axes.texts}  # by column and row
    assert texts == {(0, 0): "98.50", (0, 1): "10.25", (1, 1): "99.00"}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "optimizer")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["SGD", "Adam"]
    np.testing.assert_allclose(axes.images[0].get_array().filled(0), [[2 / 3, 0], [1 / 3, 1]])
    assert [text.get_text() for text in plots.plot_table(pd.DataFrame([[3, 12]])).axes[0].texts] == ["3", "12"]


def test_verdicts_are_drawn_on_the_side_of_the_limit_that_they_support():
    above, below = (Claim("a − b", None, 0.2, above, margin=0.1) for above in (True, False))
    estimate, judged = Estimate(0.5, 0.3, 0.6, 5, None), {"reproduced": above, "contradicted": below}
    verdicts = [Verdict(Conclusion(v[:3], "a is best", [], []), v, claim, estimate) for v, claim in judged.items()]
    figure = plots.plot_verdicts(verdicts)
    axes = figure.axes[0]
    for line, expected in zip(axes.lines, ([1, 4], [3], [-4, -1], [-3]), strict=False):
        np.testing.assert_allclose(line.get_xdata(), expected)
    assert axes.yaxis_inverted()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rep", "con"]
    assert [text.get_text() for text in axes.texts] == ["a is best", "reproduced", "a is best", "contradicted"]
    assert "con: contradicted; a − b < 0.2 pp: +0.50 pp, 95 % CI [+0.30, +0.60]" in figure.alt
    unjudged = replace(verdicts[0], verdict="cannot be judged", estimate="a run is missing")
    pairs = replace(verdicts[0], followup=verdicts[1]), replace(verdicts[1], followup=unjudged)
    axes = plots.plot_verdicts(pairs).axes[0]
    drawn = ["a is best", "reproduced", "follow-up: contradicted", "a is best", "contradicted"]
    assert [text.get_text() for text in axes.texts] == drawn
    np.testing.assert_allclose(axes.lines[2].get_xdata(), [-4, -1])


def test_a_figure_has_the_same_bytes_whatever_the_users_style_is(results, project):
    figure, img = plots.plot_curves(results), project / "img"
    assert figures.save(figure, "s") is figure
    assert (img / "s.local.png").read_bytes() == figure.png == figure._repr_png_()[0]
    (img / "s.local.png").rename(img / "s.png")
    figures.save(figure, "s")  # the same
    figures.save(plots.plot_gap(results), "s")
    assert (img / "s.png").read_bytes() == figure.png != (img / "s.local.png").read_bytes()
    with plots.matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "lines.linewidth": 9}):
        assert plots.plot_curves(results).png == figure.png
    dollars = Results("s", r"$\frac$", {r"$\frac$": results.runs[1], "$": results.runs[5]})
    assert plots.plot_curves(dollars).png  # is not taken for mathematics


def test_a_figure_for_slides_is_larger_or_a_drawing(results, project):
    contents = []
    for _ in range(2):
        figures.save(plots.plot_gap(results), "s.svg")
        contents.append((project / "img" / "s.local.svg").read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(b"<?xml")
    small, large = (figures.save(plots.plot_gap(results), "s", dpi=dpi).png for dpi in (None, 220))
    assert [int.from_bytes(png[16:20], "big") for png in (small, large)] == [880, 1760]


def test_the_gallery_shows_wrong_digits_with_the_labels_given(few):
    x, y = few.test.x, few.test.y.copy()
    y[0] = np.roll(y[0], 1)  # a label that no file holds
    probabilities = 0.9 * few.test.y + 0.01
    probabilities[5] = 0.05 + 0.5 * np.eye(10)[(few.test.y[5].argmax() + 2) % 10]
    figure = plots.plot_gallery(x, y, probabilities, seed=0)
    (true, swapped), five = (few.test.y[0].argmax(), y[0].argmax()), few.test.y[5].argmax()
    assert [axes.get_title() for axes in figure.axes] == [
        f"is {swapped} (1 %)\npredicted {true} (91 %)",
        f"is {five} (5 %)\npredicted {(five + 2) % 10} (55 %)",
    ]
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), x[0].reshape(28, 28))


def test_the_gallery_is_drawn_by_seed(few):
    guesses = np.eye(10)[np.zeros(200, int)]
    figures = [plots.plot_gallery(few.test.x, few.test.y, guesses, seed) for seed in (0, 0, 1)]
    first, again, other = ([axes.images[0].get_array().tobytes() for axes in figure.axes] for figure in figures)
    assert first == again != other
    assert len(set(first)) == 20


def test_what_cannot_be_drawn_is_named(results, few, project):
    x, y = few.test.x, few.test.y
    for draw, message in (
        (lambda: plots.plot_digits(x[:0]), "plot_digits: needs images"),
        (lambda: plots.plot_digits(x[:3], titles=[1]), r"a title for each or none \(got 3 and \[1\]\)"),
        (lambda: plots.plot_gallery(x, y, y, seed=0), "plot_digits: needs images, .*got 0"),
        (lambda: plots.plot_gallery(x, y, y[:3], seed=0), r"need \(200, 10\) .*, not \(200, 10\) \(3, 10\)"),
        (lambda: plots.plot_gallery(x, y.argmax(1), y, seed=0), r"of y and probabilities, not \(200,\)"),
        (lambda: figures.save(plots.plot_gap(results), None), "save: name must be a plain file name, .*got None"),
        (lambda: figures.save(plots.plot_gap(results), "../s"), r"save: .*got '\.\./s'"),
    ):
        with pytest.raises(LabError, match=message):
            draw()
    assert len(plots.plot_digits(x[0]).axes) == 1  # a single image is fine
