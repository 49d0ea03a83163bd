"""The error of this package: a mistake by its user, said in one line."""


class LabError(ValueError):
    """A mistake in a setting or a file. A notebook shows its one line without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"LabError: {self}"]
