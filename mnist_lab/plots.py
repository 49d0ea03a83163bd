"""Figures. Each function returns a matplotlib Figure, which shows itself as the last line of a cell."""

import re
from collections.abc import Sequence
from functools import partial

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from mnist_lab.errors import LabError
from mnist_lab.figures import LabFigure, new_figure, styled
from mnist_lab.judging.judge import MATTERS, Verdict
from mnist_lab.studies.results import TITLES, Results, in_percent, is_accuracy

UNORDERED = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "black", "0.6")  # Okabe and Ito
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
VERDICTS = {  # a colour and a marker
    "reproduced": ("#009E73", "o"),
    "contradicted": ("#D55E00", "X"),
    "no difference that matters": ("#0072B2", "P"),
    "inconclusive": ("0.5", "s"),
    "artefact": ("#CC79A7", "D"),
}


@styled
def plot_curves(
    results: Results, label: str | None = None, training: bool = False, metrics: Sequence[str] = ("accuracy", "loss")
) -> Figure:
    """Draw two validation metrics, accuracy (percent) and loss, by epoch, and all seeds at the last epoch.

    The band is one standard deviation, cut off at the lowest and the highest seed; of one value each seed is a thin
    line. `label` names the setting; `training=True` adds the training images in evaluation mode, dashed.
    """
    columns, label = min(2, len(results.runs)), label or results.vary
    figure, axes = new_figure(10, 7.5, 2, columns, squeeze=False, width_ratios=[3, 2] if columns == 2 else None)
    for row, metric in zip(axes, metrics, strict=True):
        for kind in ("val", "clean") if training else ("val",):
            title = TITLES.get(f"{kind}_{metric}", f"{kind}_{metric}")
            drawn = {v: in_percent(metric, seeds) for v, seeds in results.curves(f"{kind}_{metric}").items()}
            _draw_curves(row[0], drawn, title, label, ", training" if kind == "clean" else ", validation" * training)
            _scale(row[0], metric, drawn)
        if training:
            row[0].set_ylabel(f"{metric} (%)" if is_accuracy(metric) else metric)
        if columns == 2:
            _draw_seeds(row[1], results, f"val_{metric}", label)
            if sum(len(str(value)) for value in results.runs) > 20:  # these names are in the legend, in this order
                row[1].tick_params(labelbottom=False)
    axes[0, 0].set_title("each seed, and their mean" if columns == 1 else "mean over seeds ± 1 standard deviation")
    if columns == 2:
        axes[0, 1].set_title("each seed at the last epoch")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), title=label, loc="outside right upper")
    else:
        axes[0, 0].legend(loc="lower right")
    return figure


@styled
def plot_gap(results: Results, label: str | None = None) -> Figure:
    """Draw training accuracy (evaluation mode) minus validation accuracy, in percentage points, by epoch."""
    clean, validation = results.curves("clean_accuracy"), results.curves("val_accuracy")
    figure, axes = new_figure(8, 4.5)
    title, label = "training (evaluation mode) −\nvalidation accuracy (pp)", label or results.vary
    _draw_curves(axes, {value: 100 * (clean[value] - validation[value]) for value in clean}, title, label)
    axes.axhline(0, color="black", linewidth=1)
    axes.set_title("each seed, and their mean" if len(clean) == 1 else "mean over seeds ± 1 standard deviation")
    figure.legend(*axes.get_legend_handles_labels(), title=label, loc="outside right upper")
    return figure


@styled
def plot_seeds(results: Results, metric: str, label: str | None = None) -> Figure:
    """Draw `metric` at the last epoch for each value: each seed as a dot, and their mean as a bar."""
    figure, axes = new_figure(8, 4)
    _draw_seeds(axes, results, metric, label or results.vary)
    if sum(len(str(value)) for value in results.runs) > 70:
        axes.tick_params(axis="x", rotation=30)
    axes.set_title("each seed at the last epoch, and their mean")
    return figure


@styled
def plot_table(table: pd.DataFrame) -> Figure:
    """Draw a table of numbers; the higher a number ranks among all, the lighter its cell. A nan stays empty."""
    numbers, shades = table.to_numpy(float), table.stack().rank(method="dense", pct=True).unstack().to_numpy()
    filled, (rows, columns) = ~np.isnan(numbers), numbers.shape
    figure, axes = new_figure(2.2 + 0.75 * columns, 1 + 0.42 * rows)
    axes.imshow(shades, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    digits = 0 if (numbers[filled] % 1 == 0).all() else 2
    figure.alt = f"A table of numbers, shaded by rank: {table.index.name} by {table.columns.name}."
    for row, column in np.argwhere(filled):
        color = "white" if shades[row, column] < 0.6 else "black"
        text = f"{numbers[row, column]:.{digits}f}"
        axes.text(column, row, text, color=color, ha="center", va="center", fontsize=10)
        figure.alt += f" {table.index[row]}, {table.columns[column]}: {text};"
    figure.alt = f"{figure.alt[:-1]}."
    axes.set_xticks(range(columns), map(str, table.columns))
    axes.set_yticks(range(rows), map(str, table.index))
    axes.set(xlabel=table.columns.name, ylabel=table.index.name)
    axes.grid(False)
    return figure


@styled
def plot_verdicts(verdicts: Sequence[Verdict]) -> Figure:
    """Draw the estimate that decides each verdict, with its 95 % interval: at 0 the limit, to the right the support."""
    verdicts = [verdict for verdict in verdicts if verdict.verdict in VERDICTS]  # the others could not be judged
    figure, axes = new_figure(11, 1.2 + 0.7 * len(verdicts))
    axes.set_xscale("symlog", linthresh=1, linscale=0.8)
    write = partial(axes.text, transform=axes.get_yaxis_transform(), va="center", bbox=PAPER)
    for y, v in enumerate(verdicts):
        write(0.01, y - 0.36, v.conclusion.text)
        for one, prefix, height, size in ((v, "", y, 3), (v.followup, "follow-up: ", y + 0.3, 1.5)):
            if one and one.verdict in VERDICTS:
                (color, marker), (low, middle, high) = VERDICTS[one.verdict], one.claim.support(one.estimate)
                axes.plot([low, high], [height, height], color=color, linewidth=size)
                axes.plot(middle, height, marker, color=color, markersize=3 + 2 * size, markeredgecolor="black")
                write(1.01, height, prefix + one.texts["verdict"])
    axes.axvline(0, color="black", linewidth=1)
    _set_ticks(axes.xaxis, [-100, -10, -1, 0, 1, 10, 100])
    axes.set_yticks(range(len(verdicts)), [v.conclusion.id for v in verdicts])
    axes.set_ylim(len(verdicts) - 0.5, -0.7)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"← against the claim   0: its limit; 1: the margin ({MATTERS} pp for accuracy)   for it →")
    axes.set_title("the claim that decides each verdict: estimate and 95 % CI")
    lines = [f"{v.conclusion.id}: {v.line}" for one in verdicts for v in (one, one.followup) if v]
    figure.alt = f"Estimates with 95 % CI. {'. '.join(lines)}."
    return figure


@styled
def plot_digits(x: np.ndarray, titles: Sequence[object] | None = None, columns: int = 10) -> Figure:
    """Draw images `(n, 784)` or `(n, 28, 28, 1)` in rows of `columns`, each under its title, in dark ink on white."""
    x = np.asarray(getattr(x, "x", x)).reshape(-1, 28, 28)  # of a Split, its images
    if not len(x) or (titles is not None and len(titles) != len(x)):
        raise LabError(f"plot_digits: needs images, and a title for each or none (got {len(x)} and {titles!r})")
    rows = -(-len(x) // (columns := min(columns, len(x))))
    size = 1.0 if columns > 5 else 2.0  # inches
    figure = LabFigure(figsize=(size * columns, rows * (size + 0.25 * (titles is not None))), layout="constrained")
    for number, image in enumerate(x):
        axes = figure.add_subplot(rows, columns, number + 1, xticks=[], yticks=[])
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes.spines[:].set(visible=True, color="0.8", linewidth=0.8)  # a thin frame, which makes a shift visible
        if titles is not None:
            axes.set_title(str(titles[number]), fontsize=10)
    figure.alt = f"{len(x)} image{'s' * (len(x) > 1)} of digits"
    if titles is not None:
        figure.alt += ": " + "; ".join(str(title).replace("\n", ", ") for title in titles)
    return figure


@styled
def plot_gallery(x: np.ndarray, y: np.ndarray, probabilities: np.ndarray, seed: int, most: int = 20) -> Figure:
    """Draw up to `most` of the digits that a model gets wrong, picked at random by `seed`, with both labels.

    `x` holds the images, `y` their one-hot labels `(n, 10)`, `probabilities` the model's outputs `(n, 10)`.
    """
    if not y.shape == probabilities.shape == (len(x), 10):
        raise LabError(f"plot_gallery: need ({len(x)}, 10) of y and probabilities, not {y.shape} {probabilities.shape}")
    true, predicted = y.argmax(axis=1), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(true != predicted)
    shown = np.sort(np.random.default_rng(seed).choice(wrong, size=min(most, len(wrong)), replace=False))
    answers = zip(true[shown], predicted[shown], probabilities[shown], strict=True)
    titles = [f"is {t} ({100 * p[t]:.0f} %)\npredicted {r} ({100 * p[r]:.0f} %)" for t, r, p in answers]
    figure = plot_digits(x[shown], titles, columns=5)
    figure.suptitle(f"{len(shown)} of {len(wrong)} wrong predictions for {len(x):,} digits (probability in brackets)")
    figure.alt = f"{figure.get_suptitle()}. {figure.alt}"
    return figure


def _describe(axes, title: str, label: str, last: dict[object, np.ndarray]) -> None:
    """Add a sentence to the text of a figure: the mean of each value's seeds at the last epoch."""
    ends = ", ".join(f"{value}: {seeds.mean():.{4 if 'loss' in title else 2}f}" for value, seeds in last.items())
    seeds = ", mean over seeds" * (max(map(len, last.values())) > 1)
    sentence = f"{' '.join(title.split())} at the last epoch{seeds}, by {label}: {ends}. "
    axes.figure.alt += sentence * (sentence not in axes.figure.alt)  # it is drawn by epoch and by seed


def _draw_curves(axes, curves: dict[object, np.ndarray], title: str, label: str, suffix: str = "") -> None:
    """Draw a line per value from its `(seeds, epochs)`."""
    dashed = suffix == ", training"
    for value, seeds, color, marker in _looks(curves):
        line = {"color": color, "linestyle": "--" if dashed else "-"}
        epochs = np.arange(1, seeds.shape[1] + 1)
        mean, name = seeds.mean(axis=0), f"{value}"
        if len(curves) == 1:
            name = f"mean of {len(seeds)} seeds" if len(seeds) > 1 else f"{value}"
            axes.plot(epochs, seeds.T, alpha=0.25, linewidth=0.7, **line)
        elif len(seeds) > 1:
            spread = seeds.std(axis=0, ddof=1)
            low, high = np.clip([mean - spread, mean + spread], seeds.min(axis=0), seeds.max(axis=0))
            axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
        line |= {"marker": marker, "markerfacecolor": "white" if dashed else color}
        axes.plot(epochs, mean, label=name + suffix, markevery=max(1, len(epochs) // 12), **line)
    axes.set(xlabel="epoch", ylabel=title)
    _describe(axes, title, label, {value: seeds[:, -1] for value, seeds in curves.items()})
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_seeds(axes, results: Results, metric: str, label: str) -> None:
    """Draw each seed as a dot, side by side, and the mean as a bar."""
    last = {value: in_percent(metric, seeds) for value, seeds in results.last(metric).items()}
    for place, (_, seeds, color, marker) in enumerate(_looks(last)):
        offset = (np.arange(len(seeds)) / max(1, len(seeds) - 1) - 0.5) * 0.5
        axes.plot(place + offset, seeds, marker, color=color, markersize=4, alpha=0.6, linestyle="none")
        axes.hlines(seeds.mean(), place - 0.36, place + 0.36, color="black", linewidth=1.5, zorder=3)
    axes.set_xticks(range(len(last)), map(str, last))
    if metric == "seconds":
        axes.set_ylim(0, 1.05 * max(seconds.max() for seconds in last.values()))
    axes.set(xlabel=label, ylabel=TITLES.get(metric, metric))
    _scale(axes, metric, last)
    _describe(axes, TITLES.get(metric, metric), label, last)


def _looks(by_value: dict):
    """Each value and its data, with a colour, from dark to light for numbers, and a marker, which shows in grey."""
    numbers = all(re.fullmatch("[0-9.]+", str(value)) for value in by_value)
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(by_value))) if numbers else UNORDERED * 9
    return zip(by_value, by_value.values(), colors, "osD^vP*X<>hp" * len(by_value), strict=False)


def _scale(axes, metric: str, by_value: dict) -> None:
    """Stretch the axis towards 100 % where a value learns next to nothing; a loss over decades gets a log axis."""
    drawn = np.concatenate([values.ravel() for values in by_value.values()])
    low, high = np.nanmin(drawn), np.nanmax(drawn)
    if is_accuracy(metric) and low < 80:
        lowest = min(low - 5, axes.get_ylim()[0] if axes.get_yscale() == "function" else 100)  # of all that is drawn
        axes.set_yscale("function", functions=(lambda a: -np.log10(np.maximum(101 - a, 0.1)), lambda s: 101 - 10**-s))
        axes.set_ylim(max(0, lowest), 100)
        _set_ticks(axes.yaxis, [10, 50, 70, 80, 90, 95, 97, 98, 99, 100])
    elif metric.endswith("loss") and low > 0 and high / low > 8:
        axes.set_yscale("log")
        _set_ticks(axes.yaxis, [m * 10.0**e for e in range(-4, 2) for m in (1, 2, 5)])


def _set_ticks(axis, ticks: list[float]) -> None:
    labels = StrMethodFormatter("{x:g}")
    axis.set(major_locator=FixedLocator(ticks), minor_locator=NullLocator(), major_formatter=labels)
