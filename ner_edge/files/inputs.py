"""Open input files, refusing those that have no end, such as endless devices."""

import codecs
import os
import select
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ner_edge.errors import DataError, NerEdgeError

_PIPE_WAIT = 10.0  # seconds until the first byte of a named pipe, which may have no writer
_SIGNATURES = {  # longer ones first: that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}


def open_input(
    path: Path, *, pipes: bool = False, error: type[NerEdgeError] = DataError
) -> BinaryIO:
    """Open a regular file for reading, or with `pipes` also a pipe or a terminal.

    Raises `error` for anything else (a folder, a socket, an endless device), for a missing or
    unreadable file, and for a named pipe without a writer.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise _unreadable(path, problem, error) from None
    try:
        kind = _kind(handle)
        if kind != "file" and not (pipes and kind in ("pipe", "terminal")):
            raise error(f"{path}: is a {kind}, not a file")
        if kind == "pipe":
            _await_writer(handle, path, error)
        if kind != "file":
            os.set_blocking(handle, True)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_input(path: Path, limit: int, *, error: type[NerEdgeError] = DataError) -> bytes:
    """Read a regular file. Raises `error` as `open_input` does, and for more than `limit` bytes."""
    with open_input(path, error=error) as file:
        try:
            data = file.read(limit + 1)
        except OSError as problem:
            raise _unreadable(path, problem, error) from None
    if len(data) > limit:
        raise error(f"{path}: is larger than {limit / 1e6:g} MB, too large for such a file")
    return data


def name_as_text(path: Path) -> str:
    """Return a file's name as valid text: bytes that are not UTF-8 are replaced."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return the name of each file, or its whole path if another file has the same name."""
    counts = Counter(path.name for path in paths)
    return [path.name if counts[path.name] == 1 else str(path) for path in paths]


def encoding_of(head: bytes) -> str:
    """Return the encoding that the signature in the first four bytes of a text names, else `utf-8`.

    Python's codec of that name removes the signature.
    """
    for signature, encoding in _SIGNATURES.items():
        if head.startswith(signature):
            return encoding
    return "utf-8"


def exact_encoding(head: bytes) -> str:
    """Return the encoding that `encoding_of` finds, with its byte order: `utf-16-le`.

    Python's codec of that name keeps the signature as U+FEFF.
    """
    encoding = encoding_of(head)
    if encoding.startswith("utf-8"):
        return "utf-8"
    return f"{encoding}-{'le' if head[0] == 0xFF else 'be'}"


_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def _kind(handle: int) -> str:
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    if stat.S_ISFIFO(status.st_mode):
        return "pipe"
    if os.isatty(handle) or os.path.samestat(status, os.stat(os.devnull)):
        return "terminal"
    return "socket" if stat.S_ISSOCK(status.st_mode) else "device"


def _await_writer(handle: int, path: Path, error: type[NerEdgeError]) -> None:
    named = os.path.exists(os.path.realpath(path))  # `<(command)` has a writer, and no name
    if not named or not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(handle, select.POLLIN | select.POLLHUP)
    if not poll.poll(_PIPE_WAIT * 1000):
        raise error(f"{path}: is a pipe to which nothing was written for {_PIPE_WAIT:g} seconds")


def _unreadable(path: Path, problem: Exception, error: type[NerEdgeError]) -> NerEdgeError:
    reason = problem.strerror if isinstance(problem, OSError) else str(problem)
    return error(f"{path}: cannot be read ({reason})")
