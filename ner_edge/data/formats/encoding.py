"""Decode files: UTF-8, or the encoding that a signature (byte order mark) names."""

import codecs
from pathlib import Path

from ner_edge.errors import DataError
from ner_edge.files.inputs import encoding_of, open_input


def read_utf8(path: Path) -> bytes:
    """Return the bytes of a file as UTF-8 without its signature; they may contain invalid UTF-8.

    Raises `DataError` if the file cannot be read, or is not the UTF-16 or UTF-32 that its signature
    promises.
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
    """Return the text of a line, and an error message if it is not UTF-8.

    A signature is dropped from any line, because concatenated files have some in the middle.
    """
    rest = line.removeprefix(codecs.BOM_UTF8)
    if rest[:1] not in (b" ", b"\t"):  # else the signature itself is a word
        line = rest
    try:
        return line.decode(), None
    except UnicodeDecodeError as error:
        wrong = f"not UTF-8 text (byte 0x{line[error.start]:02x}): save the file as UTF-8"
        return line.decode("utf-8", "replace"), wrong
