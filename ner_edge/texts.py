"""Reading texts: one per line, from files or standard input, whatever bytes they hold."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from ner_edge.errors import DataError

STDIN = Path("-")


def read_texts(
    paths: Sequence[Path], warn: Callable[[str], None], advance: Callable[[int], None]
) -> Iterator[str]:
    """The lines of all files without their line ends; `-` is standard input.

    Bytes that are not UTF-8 become U+FFFD, and `warn` is told once for each file. `advance`
    receives the number of bytes of each line as it is read. Raises `DataError`.
    """
    for path in paths:
        warned = False
        try:
            with nullcontext(sys.stdin.buffer) if path == STDIN else path.open("rb") as stream:
                for number, line in enumerate(stream, 1):
                    advance(len(line))
                    text = line.decode("utf-8", "replace")
                    if "\ufffd" in text and not warned and not _is_utf8(line):
                        warned = True
                        warn(f"{path}:{number}: not UTF-8; broken bytes are read as \ufffd")
                    yield text.removesuffix("\n").removesuffix("\r")
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def check_readable(paths: Sequence[Path]) -> int | None:
    """The bytes that all files hold together, None if that is unknown.

    Raises `DataError` before any work for a file that does not exist or is a folder.
    """
    total = 0
    for path in paths:
        if path == STDIN:
            return None
        if not path.exists():
            raise DataError(f"{path}: no such file")
        if path.is_dir():
            raise DataError(f"{path}: is a folder, not a text file")
        total += path.stat().st_size
    return total


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
