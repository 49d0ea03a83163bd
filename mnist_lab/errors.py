"""What this package raises, each in one line, which a notebook shows without a traceback; and Stop, which waits."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class LabError(ValueError):
    """A mistake in a setting or a file."""

    def _render_traceback_(self) -> list[str]:
        return [f"LabError: {self}"]


class Stopped(KeyboardInterrupt):
    """A cell was stopped by its user."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


@contextmanager
def delay_stop() -> Iterator[None]:
    """Let Stop wait, for an import: what is half imported cannot be imported again. Raises Stopped at the end."""
    pressed: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number)) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
    if pressed and callable(before):
        raise Stopped("stopped; run the cell again")
