"""The files of a folder, in a fixed order, with their paths in it."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ner_edge.documents.extract import is_document
from ner_edge.errors import DataError, UsageError

HIDDEN = ".ner-edge"
"""The names of our own files in an output folder begin with this."""


class Source(NamedTuple):
    """A file to read."""

    path: Path
    name: Path
    """Its path in the folder, or the name of a single file."""
    size: int = 0
    """In bytes."""


def sources(root: Path, leave_out: Callable[[Path, str], None]) -> list[Source]:
    """Return the files of a folder and the folders in it, or the one file `root`.

    Links to files are files; links to folders, which may lead in circles, are left out, and so are
    folders that cannot be read: `leave_out` gets the path and the reason. Raises `DataError` if
    `root` does not exist.
    """
    if not root.is_dir():
        if not os.path.lexists(root):
            raise DataError(f"{root}: no such file or folder")
        return [_source(root, Path(root.name))]
    found = []

    def unreadable(error: OSError) -> None:
        leave_out(Path(str(error.filename)), f"cannot be read ({error.strerror})")

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                leave_out(Path(folder, name), "is a link to a folder, which is not followed")
        for name in sorted(files):
            path = Path(folder, name)
            if not name.startswith(HIDDEN):
                found.append(_source(path, path.relative_to(root)))
    return found


def _source(path: Path, name: Path) -> Source:
    try:
        return Source(path, name, path.stat().st_size)
    except OSError:  # a broken link, about which reading it will complain
        return Source(path, name)


def without_clashes(
    files: Iterable[Source],
    result: Callable[[Source], Path],
    leave_out: Callable[[Path, str], None],
) -> list[Source]:
    """Leave out each file whose `result` would replace that of another file."""
    taken: dict[Path, Source] = {}
    for source in files:
        first = taken.setdefault(result(source), source)
        if first is not source:
            leave_out(source.path, f"its result would have the name of that of {first.path}")
    return list(taken.values())


def redacted_name(source: Source) -> Path:
    """Return the name of a redacted file: its own, or with `.txt` that of its extracted text."""
    suffix = ".txt" if is_document(source.path) else ""
    return source.name.with_name(source.name.name + suffix)


def check_apart(option: str, out: Path, root: Path) -> None:
    """Raise `UsageError` naming `option` if an output lies in the folder that is read, or it in
    the output: a second run would read the first one's results."""
    if not root.is_dir():
        return
    inner, outer = Path(os.path.realpath(out)), Path(os.path.realpath(root))
    if inner == outer or outer in inner.parents:
        raise UsageError(f"{option}: lies in {root}, which is read; give a place outside it")
    if inner in outer.parents and (out.is_dir() or not out.exists()):
        raise UsageError(f"{option}: contains {root}, which is read; give another folder")


def text_name(name: Path) -> str:
    """Return a path as valid text: bytes that are not UTF-8 become escapes such as `\\xe9`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
