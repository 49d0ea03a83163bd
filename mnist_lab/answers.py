"""Answers that stay folded until their reader opens them, however the notebook is run."""

from base64 import b64encode

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
            data, _ = DisplayFormatter().format(one)
            png = data.get("image/png", b"")
            image = f'<img src="data:image/png;base64,{png if isinstance(png, str) else b64encode(png).decode()}">'
            html += image if png else data.get("text/html", f"<pre>{one}</pre>")
        return f"<details><summary>What came out</summary>{html}</details>"
