"""Reading texts: one per line, from files or standard input, whatever bytes they hold."""

import codecs
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from ner_edge.errors import DataError

STDIN = Path("-")


def read_texts(
    paths: Sequence[Path], warn: Callable[[str], None], advance: Callable[[int], None]
) -> Iterator[str]:
    """The lines of all files without their line ends; `-` is standard input.

    Bytes that are not UTF-8 become U+FFFD, and `warn` is told once for each file. A byte order mark
    that opens a file is no part of its text. `advance` receives the number of bytes of each line
    as it is read. Raises `DataError`.
    """
    for path in paths:
        warned = False
        try:
            with nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    advance(len(line))
                    if number == 1:
                        line = line.removeprefix(codecs.BOM_UTF8)
                    text = line.decode("utf-8", "replace")
                    if "\ufffd" in text and not warned and not _is_utf8(line):
                        warned = True
                        warn(f"{path}:{number}: not UTF-8; broken bytes are read as \ufffd")
                    yield text.removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_readable(paths: Sequence[Path]) -> int | None:
    """The bytes that all files hold together, None if that is unknown.

    Raises `DataError` before any work for a file that cannot be read or is a folder.
    """
    total: int | None = 0
    for path in paths:
        if path == STDIN:
            total = None
            continue
        try:
            facts = path.stat()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
        if S_ISDIR(facts.st_mode):
            raise DataError(f"{path}: is a folder, not a text file")
        if not os.access(path, os.R_OK):
            raise DataError(f"{path}: cannot be read ({os.strerror(errno.EACCES)})")
        # A pipe does not tell how much it holds.
        total = total + facts.st_size if total is not None and S_ISREG(facts.st_mode) else None
    return total


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
