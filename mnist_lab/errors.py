"""The one error this package raises for a mistake it can name."""


class LabError(ValueError):
    """A mistake in a setting or a file, told in one line; a notebook shows the line without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"LabError: {self}"]
