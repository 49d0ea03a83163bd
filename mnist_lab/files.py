"""Files: finding the project's folders, reading text, and replacing a file as a whole under a lock."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from mnist_lab.errors import LabError


def find_project() -> Path:
    """The nearest folder, from the current one upwards, that holds `notebooks` or `img`; as a relative path."""
    here = Path.cwd()
    folders = [one for one in (here, *here.parents) if (one / "notebooks").is_dir() or (one / "img").is_dir()]
    return Path(os.path.relpath([*folders, here][0]))


def find_notebooks(names: list[str]) -> list[Path]:
    """The notebooks named, or all of the project. Raises LabError if there is none."""
    folder = find_project() / "notebooks"
    paths = [Path(name) for name in names] or sorted(folder.glob("*.ipynb"))
    if not paths:
        raise LabError(f"{folder}: no notebooks there; go to the project's folder")
    return paths


def find_images() -> Path:
    """The folder `img` of the project; it may not exist yet."""
    return find_project() / "img"


def find_recorded() -> Path:
    """The folder of recorded runs: the project's; for a notebook outside of any, that installed with the package."""
    own, above = find_images(), Path(__file__).parents
    installed = [above[1] / "img", *(folder / "share" / "mnist_lab" for folder in above)]
    return own if (own / "sources.json").exists() else next(filter(Path.is_dir, installed), own)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte-order mark. Raises LabError, naming the line, where it is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise LabError(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from None


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Keep other processes from writing a file; its folder is made if needed. Raises LabError where it cannot be."""
    try:
        path.parent.mkdir(exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise LabError(f"{path}: cannot be written ({error.strerror or error})") from None


def replace_file(path: Path, content: bytes) -> None:
    """Put a new file in the place of the old one, as a whole or not at all. Raises LabError."""
    new = path.with_name(f".{path.name}.new")
    try:
        _write(new, "wb", content)
        os.replace(new, path)
    except OSError as error:  # a full disk; on Windows also a spreadsheet that has the file open
        new.unlink(missing_ok=True)
        raise LabError(f"{path}: cannot be written ({error.strerror or error}); the old file is unchanged") from None


def append_file(path: Path, content: bytes, size: int) -> None:
    """Add to the end of a file of this size. Raises OSError, and leaves the file as it was, where that fails."""
    try:
        _write(path, "ab", content)
    except OSError:
        os.truncate(path, size)
        raise


def _write(path: Path, mode: str, content: bytes) -> None:
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # a power cut leaves the file as it was, or the new one
