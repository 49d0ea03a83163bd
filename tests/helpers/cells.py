"""Code as a notebook has it: defined in cells whose text Python can read."""

import itertools
import linecache

NUMBERS = itertools.count()


def define(text: str, **names) -> dict:
    """Run the text of a cell, and return the names it defines; `names` are there already, as from cells before."""
    cell = f"<cell {next(NUMBERS)}>"
    linecache.cache[cell] = len(text), None, text.splitlines(keepends=True), cell
    scope = {"__name__": "__main__"} | names
    exec(compile(text, cell, "exec"), scope)
    return scope
