"""What this package raises: each is one line, which a notebook shows without a traceback."""


class LabError(ValueError):
    """A mistake in a setting or a file."""

    def _render_traceback_(self) -> list[str]:
        return [f"LabError: {self}"]


class Stopped(KeyboardInterrupt):
    """Training was stopped by its user."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]
