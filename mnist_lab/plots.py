"""Figures. Each function returns a matplotlib Figure; only `save` touches the disk."""

import io
import logging
import os
from collections.abc import Sequence
from functools import wraps

import matplotlib
import matplotlib.style
import numpy as np
import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter
from scipy.stats import rankdata

from mnist_lab.errors import LabError
from mnist_lab.judge import Verdict
from mnist_lab.record import find_folder, is_accuracy, replace_file
from mnist_lab.results import TITLES, Results, in_percent

# said to be building a font cache, once, on a new machine: nothing for a reader's screen
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

STYLE = {
    "figure.dpi": 110,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "text.parse_math": False,  # a reader's label may hold a $
}
MARKERS = "osD^vP*X<>hp"


def _styled(draw):
    """Draw in this module's style, whatever the reader's own settings are, so that the bytes are the same."""

    @wraps(draw)
    def wrapper(*args, **kwargs):
        with matplotlib.style.context(["default", STYLE]):
            return draw(*args, **kwargs)

    return wrapper


@_styled
def plot_curves(
    results: Results,
    label: str | None = None,
    clean: bool = False,
    metrics: tuple[str, str] = ("accuracy", "loss"),
) -> Figure:
    """Draw two validation metrics, accuracy (percent) and loss, by epoch, and every seed at the last epoch.

    On the left the mean over seeds, one line a value, with a band of one standard deviation as far as any seed
    reaches. On the right each seed is a dot, the mean a bar. A study of one value has every seed as a thin line
    instead. `label` names what varies; `clean=True` adds the training images in inference mode, dashed.
    """
    label = label or results.vary
    several = len(results.runs) > 1
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplots(2, 2 if several else 1, squeeze=False, width_ratios=[3, 2] if several else None)
    for row, metric in zip(axes, metrics, strict=True):
        _draw_curves(row[0], results, f"val_{metric}", dashed=False)
        if clean:
            _draw_curves(row[0], results, f"clean_{metric}", dashed=True)
            row[0].set_ylabel(TITLES[f"val_{metric}"].removeprefix("validation "))
        if several:
            _draw_seeds(row[1], results, f"val_{metric}", room=20)
            row[1].set_xlabel(label)
            row[1].set_title("last epoch, every seed", fontsize=11)
    if several:
        if axes[0, 1].get_xticklabels()[0].get_rotation():  # long names, and the same ones below
            axes[0, 1].tick_params(labelbottom=False)
            axes[0, 1].set_xlabel("")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), title=label, loc="outside right upper")
    else:
        axes[0, 0].legend(loc="lower right")
    return figure


def _draw_curves(axes, results: Results, metric: str, dashed: bool) -> None:
    curves = {value: in_percent(metric, values) for value, values in results.curves(metric).items()}
    for value, seeds, color, marker in _looks(curves):
        epochs = np.arange(1, seeds.shape[1] + 1)
        mean, name = seeds.mean(axis=0), f"{value}"
        if len(curves) == 1:
            name = f"mean of {len(seeds)} seeds"
            axes.plot(epochs, seeds.T, color=color, alpha=0.25, linewidth=0.7, linestyle="--" if dashed else "-")
        elif len(seeds) > 1:
            spread = seeds.std(axis=0, ddof=1)
            low, high = np.maximum(mean - spread, seeds.min(axis=0)), np.minimum(mean + spread, seeds.max(axis=0))
            axes.fill_between(epochs, low, high, color=color, alpha=0.12, linewidth=0)
        axes.plot(
            epochs,
            mean,
            color=color,
            marker=marker,
            markersize=6,
            markevery=max(1, len(epochs) // 12),
            linestyle="--" if dashed else "-",
            markerfacecolor="white" if dashed else color,
            label=f"{name}, clean training" if dashed else name if len(curves) > 1 else f"{name}, validation",
        )
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(TITLES.get(metric, metric))
    _scale(axes, metric, curves)


def _draw_seeds(axes, results: Results, metric: str, room: int) -> None:
    """Every seed at the last epoch as a dot, side by side where they would overlap, and the mean as a bar.

    The values' names stand upright up to `room` characters together.
    """
    last = {value: in_percent(metric, seeds) for value, seeds in results.last(metric).items()}
    for place, (_, seeds, color, marker) in enumerate(_looks(last)):
        aside = (np.arange(len(seeds)) / max(1, len(seeds) - 1) - 0.5) * 0.5
        axes.plot(place + aside, seeds, marker, color=color, markersize=4, alpha=0.6, linestyle="none")
        axes.hlines(seeds.mean(), place - 0.36, place + 0.36, color="black", linewidth=1.5, zorder=3)
    names = [str(value) for value in last]
    slanted = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if sum(map(len, names)) > room else {}
    axes.set_xticks(range(len(last)), names, **slanted)
    if metric == "seconds":
        axes.set_ylim(0, 1.05 * max(seconds.max() for seconds in last.values()))
    axes.set_ylabel(TITLES.get(metric, metric))
    _scale(axes, metric, last)


@_styled
def plot_gap(results: Results, label: str | None = None) -> Figure:
    """Draw by how much clean training accuracy lies above validation, in points by epoch: the mean, and every seed."""
    clean, validation = results.curves("clean_accuracy"), results.curves("val_accuracy")
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for value, gaps, color, marker in _looks({value: 100 * (clean[value] - validation[value]) for value in clean}):
        epochs = np.arange(1, gaps.shape[1] + 1)
        axes.plot(epochs, gaps.T, color=color, alpha=0.4, linewidth=0.7)
        axes.plot(epochs, gaps.mean(axis=0), color=color, marker=marker, markersize=6, label=f"{value}")
    axes.axhline(0, color="black", linewidth=1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", ylabel="clean training less validation (points)")
    axes.legend(title=label or results.vary)
    return figure


@_styled
def plot_seeds(results: Results, metric: str, label: str | None = None) -> Figure:
    """Draw `metric` at the last epoch, each seed a dot and their mean a bar, side by side for each value."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    _draw_seeds(axes, results, metric, room=70)
    axes.set_xlabel(label or results.vary)
    return figure


@_styled
def plot_table(table: pd.DataFrame) -> Figure:
    """Draw a table of numbers, each in a cell that is the lighter the higher its number stands among them all.

    The table's axes carry their names. A cell that is nan stays empty.
    """
    try:
        numbers = table.to_numpy(float)
    except ValueError:
        raise LabError("plot_table draws a table of numbers, and this one holds text") from None
    rank = np.full(numbers.shape, np.nan)
    rank[~np.isnan(numbers)] = rankdata(numbers[~np.isnan(numbers)], method="dense")
    rank = rank / np.nanmax(rank)
    rows, columns = numbers.shape
    figure = Figure(figsize=(2.2 + 0.75 * columns, 1 + 0.42 * rows), layout="constrained")
    axes = figure.subplots()
    axes.imshow(rank, cmap="viridis", vmin=0, vmax=1, aspect="auto")
    whole = (numbers[~np.isnan(numbers)] % 1 == 0).all()
    for row, column in np.argwhere(~np.isnan(numbers)):
        text = f"{numbers[row, column]:.0f}" if whole else f"{numbers[row, column]:.2f}"
        color = "white" if rank[row, column] < 0.6 else "black"
        axes.text(column, row, text, color=color, ha="center", va="center", fontsize=10)
    axes.set_xticks(range(columns), map(str, table.columns))
    axes.set_yticks(range(rows), map(str, table.index))
    axes.set(xlabel=table.columns.name, ylabel=table.index.name)
    axes.grid(False)
    return figure


def _looks(by_value: dict):
    """Each value with what is drawn for it, a colour from dark to light, and a marker: told apart in grey, too."""
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(by_value)))
    for number, (value, drawn) in enumerate(by_value.items()):
        yield value, drawn, colors[number], MARKERS[number % len(MARKERS)]


def _scale(axes, metric: str, drawn: dict) -> None:
    """Stretch an axis towards 100 % where some value learns next to nothing, and a loss that spans decades."""
    low = min(np.nanmin(values) for values in drawn.values())
    high = max(np.nanmax(values) for values in drawn.values())
    if is_accuracy(metric) and low < 80:
        axes.set_yscale("function", functions=(lambda a: -np.log10(np.maximum(101 - a, 0.1)), lambda s: 101 - 10**-s))
        axes.set_ylim(max(0, low - 5), 100)
        axes.yaxis.set_major_locator(FixedLocator([10, 50, 70, 80, 90, 95, 97, 98, 99, 100]))
        axes.yaxis.set_minor_locator(NullLocator())
    elif metric.endswith("loss") and low > 0 and high / low > 8:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(FixedLocator([m * 10.0**e for e in range(-4, 2) for m in (1, 2, 5)]))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())


VERDICT_LOOKS = {
    "reproduced": ("tab:green", "o"),
    "contradicted": ("tab:red", "X"),
    "inconclusive": ("0.5", "D"),
    "artefact": ("tab:orange", "^"),
}


@_styled
def plot_verdicts(verdicts: Sequence[Verdict]) -> Figure:
    """Draw each verdict's deciding estimate and its interval, in units of what matters, to the right if it supports."""
    figure = Figure(figsize=(14, 1.8 + 0.5 * len(verdicts)), layout="constrained")
    axes = figure.subplots()
    beside, drawn = axes.get_yaxis_transform(), [-1.0, 1.0]
    for place, v in enumerate(verdicts):
        color, marker = VERDICT_LOOKS[v.verdict]
        ends = sorted(v.claim.support(end) for end in (v.estimate.low, v.estimate.high))
        drawn += ends
        axes.plot(ends, [place, place], color=color, linewidth=3, solid_capstyle="butt")
        middle = v.claim.support(v.estimate.value)
        axes.plot(middle, place, marker, color=color, markersize=9, markeredgecolor="black", markeredgewidth=0.8)
        axes.text(1.01, place, f"{v.verdict} ({v.seeds} seeds)", color=color, transform=beside, va="center")
        concluded = f"{v.conclusion.id}: {v.conclusion.text}"
        axes.text(-0.02, place, concluded, transform=beside, ha="right", va="bottom")
        axes.text(-0.02, place + 0.06, v.told_claim, transform=beside, ha="right", va="top", fontsize=9, color="0.35")
    axes.axvline(0, color="black", linewidth=1)
    axes.set_xscale("symlog", linthresh=1, linscale=0.8)
    axes.set_xlim(1.5 * min(drawn), 1.5 * max(drawn))
    axes.xaxis.set_major_locator(FixedLocator([-100, -10, -3, -1, 0, 1, 3, 10, 100]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks(range(len(verdicts)), [""] * len(verdicts))
    axes.set_ylim(len(verdicts) - 0.4, -0.6)
    matters = dict.fromkeys(f"{v.claim.margin:g} {v.claim.unit}" for v in verdicts)
    axes.set_xlabel(
        "against the conclusion  \N{LEFTWARDS ARROW}  0 is the limit of its rule  \N{RIGHTWARDS ARROW}  for it\n"
        f"(1 is as much as matters: {', '.join(matters)};\nthe scale narrows outwards)"
    )
    figure.suptitle(
        "What a notebook of 2018 concluded from single runs, and what many seeds say\n"
        "(below each the claim that decides, and what was found; artefact: holds only as it was read in 2018)"
    )
    return figure


@_styled
def plot_history(history: dict[str, list[float]]) -> Figure:
    """Draw one live run of Keras's `fit`, its `history`: accuracy (percent) and loss by epoch."""
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, marker, color in ((metric, "o", "0.55"), (f"val_{metric}", "s", "black")):
            values = in_percent(metric, np.array(history.get(name, [])))
            axes.plot(
                np.arange(1, len(values) + 1), values, marker=marker, color=color, label=TITLES[name].split(" (")[0]
            )
        axes.set(xlabel="epoch", ylabel="accuracy (%)" if metric == "accuracy" else "loss")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
    return figure


@_styled
def plot_digits(x: np.ndarray, titles: Sequence[object] | None = None, columns: int = 10) -> Figure:
    """Draw images side by side, `(n, 784)` or `(n, 28, 28, 1)`, each under its title. Dark ink on white.

    Raises LabError where there are no images, or not as many titles.
    """
    x = np.asarray(x).reshape(-1, 28, 28)
    if not len(x) or (titles is not None and len(titles) != len(x)):
        raise LabError(f"plot_digits: {len(x)} images and {'no' if titles is None else len(titles)} titles")
    columns = min(columns, len(x))
    rows = -(-len(x) // columns)
    size = 1.0 if columns > 5 else 2.0  # inches
    figure = Figure(figsize=(size * columns, (size + 0.25 * (titles is not None)) * rows), layout="constrained")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(x):
            _draw_digit(axes, x[number])
            if titles is not None:
                axes.set_title(str(titles[number]), fontsize=10)
    return figure


def _draw_digit(axes, image: np.ndarray) -> None:
    """Draw one image in a thin frame, without which a shift is not seen."""
    axes.axis("on")
    axes.imshow(image.reshape(28, 28), cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color="0.8", linewidth=0.8)


@_styled
def plot_gallery(
    x: np.ndarray, y: np.ndarray, probabilities: np.ndarray, seed: int, most: int = 20, columns: int = 5
) -> Figure:
    """Draw up to `most` of the digits that a model gets wrong, picked at random by `seed`.

    `x` holds the images, `y` their one-hot labels, `probabilities` the model's answers `(n, 10)`. Each digit shows
    its true and its predicted label, and the probability that the model gave to each.
    Raises LabError where the three do not have the same length, and where nothing is wrong.
    """
    if y.ndim != 2 or probabilities.ndim != 2:
        raise LabError("plot_gallery: y must be one-hot labels (n, 10), and probabilities (n, 10)")
    if not len(x) == len(y) == len(probabilities):
        raise LabError(f"plot_gallery: {len(x)} images, {len(y)} labels and {len(probabilities)} answers; need as many")
    true, predicted = y.argmax(axis=1), probabilities.argmax(axis=1)
    wrong = np.flatnonzero(true != predicted)
    if not len(wrong):
        raise LabError(f"plot_gallery: the model gets all {len(x)} digits right, so there is nothing to show")
    shown = np.sort(np.random.default_rng(seed).choice(wrong, size=min(most, len(wrong)), replace=False))
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(2.0 * columns, 1.9 * rows + 0.4), layout="constrained")
    figure.suptitle(f"{len(shown)} of {len(wrong)} wrong among {len(x):,} digits (probability given in brackets)")
    for number, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.axis("off")
        if number < len(shown):
            i = shown[number]
            _draw_digit(axes, x[i])
            told = [
                f"{kind} {d} ({probabilities[i, d]:.0%})" for kind, d in (("is", true[i]), ("read as", predicted[i]))
            ]
            axes.set_title("\n".join(told), fontsize=10)
    return figure


def show(figure: Figure) -> Image:
    """Show a figure in a notebook; the same bytes each time."""
    content = io.BytesIO()
    with matplotlib.style.context(["default", STYLE]):
        figure.savefig(content, format="png", metadata={"Software": None})
    return Image(content.getvalue())


def save(figure: Figure, name: str) -> Image:
    """Write `img/<name>.png` and show it."""
    if not isinstance(name, str) or os.path.basename(name) != name or not name:
        raise LabError(f"save: the name is {name!r}, but must be a plain file name without its ending")
    image = show(figure)
    folder = find_folder()
    folder.mkdir(exist_ok=True)
    replace_file(folder / f"{name}.png", lambda new: new.write(image.data))
    return image
