"""Files that appear complete or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ner_edge.errors import NerEdgeError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; renamed to `target` on success, removed on any failure.

    Raises `NerEdgeError` if the disk is full or the place cannot be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        # numpy reports a short write without an error number
        full = error.errno == errno.ENOSPC or (
            error.errno is None and shutil.disk_usage(target.parent).free < 1 << 24
        )
        reason = "the disk is full" if full else str(error)
        raise NerEdgeError(f"{target}: cannot be written: {reason}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def make_folder(folder: Path) -> None:
    """Make an output folder with its parents. Raises `NerEdgeError` if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NerEdgeError(f"{folder}: cannot be made a folder: {error.strerror}") from None


def check_disk_space(folder: Path, needed: int) -> None:
    """Raises `NerEdgeError` with both figures if `folder`'s disk has less than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NerEdgeError(
            f"{folder}: needs about {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free"
        )


def write_text(text: str, target: str) -> None:
    """Write to a file, which appears whole or not at all, or to standard output for `-`."""
    if target == "-":
        print(text, end="")
        return
    with atomic_path(Path(target)) as partial:
        partial.write_text(text, encoding="utf-8")
