"""The text of files: UTF-8, or what a signature says."""

import codecs
from pathlib import Path

from ner_edge.errors import DataError
from ner_edge.files.inputs import encoding_of, open_input


def read_utf8(path: Path) -> bytes:
    """All of a file as UTF-8 without a signature, which may still hold what is not UTF-8.

    Raises `DataError` for what cannot be read, and for UTF-16 or UTF-32 that is none.
    """
    with open_input(path, pipes=True) as file:
        try:
            data = file.read()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    encoding = encoding_of(data[:4])
    if not encoding.startswith("utf-8"):
        try:
            return data.decode(encoding).encode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: starts with a {encoding.upper()} signature, but is not valid "
                f"{encoding.upper()} ({error.reason})"
            ) from None
    return data.removeprefix(codecs.BOM_UTF8)


def decoded(line: bytes) -> tuple[str, str | None]:
    """The text of a line, and what is wrong with it. A signature, which files that were put
    together from others have before any line, is no part of it."""
    rest = line.removeprefix(codecs.BOM_UTF8)
    if rest[:1] not in (b" ", b"\t"):  # else it is a word, if a strange one
        line = rest
    try:
        return line.decode(), None
    except UnicodeDecodeError as error:
        wrong = f"not UTF-8 text (byte 0x{line[error.start]:02x}): save the file as UTF-8"
        return line.decode("utf-8", "replace"), wrong
