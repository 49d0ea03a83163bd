import numpy as np
import pandas as pd
import pytest

from mnist_lab import figures, plots
from mnist_lab.errors import LabError
from mnist_lab.judging.judge import Claim, Conclusion, Verdict
from mnist_lab.judging.stats import Estimate
from mnist_lab.studies.results import Results


def test_curves_show_a_line_per_value_and_a_dot_per_seed(results):
    curves, seeds = plots.plot_curves(results, "hidden layers", training=True).axes[:2]
    names = ["1, validation", "5, validation", "1, training", "5, training"]
    assert [line.get_label() for line in curves.lines] == names
    np.testing.assert_allclose(curves.lines[1].get_xydata(), [[1, 98.1], [2, 98.4]])
    np.testing.assert_allclose(curves.lines[3].get_ydata(), [98.6, 98.9])
    assert (curves.get_xlabel(), curves.get_ylabel()) == ("epoch", "accuracy (%)")
    np.testing.assert_allclose(seeds.lines[0].get_ydata(), [97.5, 97.6, 97.7])
    assert [label.get_text() for label in seeds.get_xticklabels()] == ["1", "5"]
    results.runs[1][0][["val_accuracy", "clean_accuracy"]] = [[0.3, 0.7], [0.9, 0.9]]
    assert plots.plot_curves(results, training=True).axes[0].get_ylim()[0] < 60
    single = plots.plot_curves(Results("s", "epochs", {2: results.runs[5]}))  # each seed is a line
    assert [len(axes.lines) for axes in single.axes] == [4, 4]


def test_a_text_says_what_a_figure_shows(results, few):
    means = "at the last epoch, mean over seeds, by depth:"
    assert f"validation accuracy (%) {means} 1: 97.60, 5: 98.40." in plots.plot_curves(results).alt
    assert f"evaluation mode {means} 1: 0.4120, 5: 0.4080." in plots.plot_curves(results, training=True).alt
    assert f"validation accuracy (pp) {means} 1: 0.50, 5: 0.50." in plots.plot_gap(results).alt
    assert "Adam, 0.1: 98.50" in plots.plot_table(pd.DataFrame([[98.5]], ["Adam"], [0.1])).alt
    digits = plots.plot_digits(few.test.x[:2], ["a", "b\nc"])
    assert digits._repr_png_()[1]["alt"] == digits.alt == "2 images of digits: a; b, c"


def test_verdicts_are_drawn_on_the_side_of_the_limit_that_they_support():
    above, below = (Claim("a − b", None, 0.2, above, margin=0.1) for above in (True, False))
    estimate, judged = Estimate(0.5, 0.3, 0.6, 5, None), {"reproduced": above, "contradicted": below}
    verdicts = [Verdict(Conclusion(v[:3], "a is best", [], []), v, claim, estimate) for v, claim in judged.items()]
    figure = plots.plot_verdicts(verdicts)
    axes = figure.axes[0]
    for line, expected in zip(axes.lines, ([1, 4], [3], [-4, -1], [-3]), strict=False):
        np.testing.assert_allclose(line.get_xdata(), expected)
    assert [text.get_text() for text in axes.texts] == ["a is best", "reproduced", "a is best", "contradicted"]
    assert "con: contradicted; a − b < 0.2 pp: +0.50 pp, 95 % CI [+0.30, +0.60]" in figure.alt


def test_a_figure_has_the_same_bytes_whatever_the_users_style_is(results, project):
    figure, img = plots.plot_curves(results), project / "img"
    assert figures.save(figure, "s") is figure
    assert (img / "s.local.png").read_bytes() == figure.png == figure._repr_png_()[0]
    (img / "s.local.png").rename(img / "s.png")
    figures.save(figure, "s")  # the same
    figures.save(plots.plot_gap(results), "s")
    assert (img / "s.png").read_bytes() == figure.png != (img / "s.local.png").read_bytes()
    figures.save(figure, "s").axes[0].set_title("changed since it was shown")
    assert figure.png != (img / "s.png").read_bytes()
    with plots.matplotlib.rc_context({"font.size": 20, "savefig.dpi": 50, "lines.linewidth": 9}):
        assert plots.plot_curves(results).png == (img / "s.png").read_bytes()


def test_a_figure_for_slides_is_larger_or_a_drawing(results, project):
    for name in ("a.svg", "b.svg"):
        figures.save(plots.plot_gap(results), name)
    drawing = (project / "img" / "a.local.svg").read_bytes()
    assert drawing.startswith(b"<?xml")
    assert drawing == (project / "img" / "b.local.svg").read_bytes()
    assert int.from_bytes(figures.save(plots.plot_gap(results), "s", dpi=220).png[16:20], "big") == 1760  # pixels


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


def test_an_answer_is_folded_and_its_text_is_no_markup():
    html = figures.Answer(pd.DataFrame({"a": [1]}), "a < b")._repr_html_()
    assert html.startswith("<details><summary>")
    assert html.endswith("</table>\n</div><pre>a &lt; b</pre></details>")


def test_what_cannot_be_drawn_is_named(results, few, project):
    x, y = few.test.x, few.test.y
    for draw, message in (
        (lambda: plots.plot_digits(x[:3], titles=[1]), r"a title for each or none \(got 3 and \[1\]\)"),
        (lambda: plots.plot_gallery(x, y, y, seed=0), "plot_digits: needs images, .*got 0"),
        (lambda: plots.plot_gallery(x, y, y[:3], seed=0), r"need \(200, 10\) .*, not \(200, 10\) \(3, 10\)"),
        (lambda: figures.save(results, "s"), "save: needs a figure of this package"),
        (lambda: figures.save(plots.plot_gap(results), "../s"), r"save: needs .* a plain file name.*got '\.\./s'"),
    ):
        with pytest.raises(LabError, match=message):
            draw()
