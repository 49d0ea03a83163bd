"""How figures look, are shown and saved (the same bytes each time, with a text for a screen reader), and are folded."""

import io
import logging
import os
from base64 import b64encode
from html import escape
from pathlib import Path

import matplotlib.style
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from mnist_lab.errors import LabError
from mnist_lab.files import find_images, replace_file

logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # else it prints that it builds a font cache

STYLE = Path(__file__).with_name("templates") / "figures.mplstyle"
styled = matplotlib.style.context(["default", STYLE])  # whatever the user's own settings are: the same bytes


class LabFigure(Figure):
    """A figure that a notebook shows where it is the last line of a cell; `alt` says in words what it shows."""

    alt, _png = "", b""

    @property
    @styled
    def png(self) -> bytes:
        """The picture, drawn again only after a change: the layout of a second drawing may differ by a pixel."""
        if self.stale or not self._png:
            FigureCanvasAgg(self).print_png(content := io.BytesIO(), metadata={"Software": None})
            self._png = content.getvalue()
        return self._png

    def _repr_png_(self) -> tuple[bytes, dict]:
        return self.png, {"alt": self.alt}


def new_figure(width: float, height: float, *grid: int, **options) -> tuple:
    """A figure of this size in inches, and its axes."""
    figure = LabFigure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(*grid, **options)


@styled
def save(figure: LabFigure, name: str, dpi: float | None = None) -> LabFigure:
    """Write `img/<name>.png`, and return the figure; a name that ends in `.svg` gives a drawing for slides instead.

    `dpi` is the number of pixels per inch. A student's figure, unless it is the same, becomes `<name>.local.png`.
    """
    if not isinstance(figure, LabFigure) or not name or os.path.basename(str(name)) != name or name.endswith(".png"):
        raise LabError(f"save: needs a figure of this package and a plain file name, without .png (got {name!r})")
    if dpi:
        figure.set_dpi(dpi)
    path = find_images() / (name if name.endswith(".svg") else f"{name}.png")
    content = figure.png
    if name.endswith(".svg"):
        FigureCanvasSVG(figure).print_svg(drawing := io.BytesIO(), metadata={"Date": None})
        content = drawing.getvalue()
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(exist_ok=True)
        own = os.environ.get("MNIST_LAB_MODE", "local") == "local"
        path = path.with_suffix(f".local{path.suffix}") if own else path
        replace_file(path, content)
    return figure


class Answer:
    """Tables, figures and texts, folded, for the last line of a cell: `lab.Answer(results, lab.plot_gap(results))`."""

    def __init__(self, *shown: object):
        self.shown = shown

    def __repr__(self) -> str:
        return "\n".join(one if isinstance(one, str) else repr(one) for one in self.shown)

    def _repr_html_(self) -> str:
        html = ""
        for one in self.shown:
            data, metadata = DisplayFormatter().format(one)
            png, alt = data.get("image/png", b""), metadata.get("image/png", {}).get("alt", "")
            source = f"data:image/png;base64,{png if isinstance(png, str) else b64encode(png).decode()}"
            image = f'<img alt="{escape(alt)}" src="{source}">'
            html += image if png else data.get("text/html", f"<pre>{escape(str(one), quote=False)}</pre>")
        return f"<details><summary>What came out</summary>{html}</details>"
