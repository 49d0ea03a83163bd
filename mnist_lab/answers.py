"""Answers that stay folded until their reader opens them, however the notebook is run."""

from base64 import b64encode
from html import escape

from IPython.core.formatters import DisplayFormatter


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
            html += image if png else data.get("text/html", f"<pre>{one}</pre>")
        return f"<details><summary>What came out</summary>{html}</details>"
