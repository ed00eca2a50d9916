"""Read a file as text that can be written back byte for byte."""

import codecs
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ner_edge.data.texts import STDIN
from ner_edge.documents.extract import extract, is_document
from ner_edge.errors import DataError
from ner_edge.files.inputs import exact_encoding, read_input

_LIMIT = 1_000_000_000  # bytes
_HEAD = 8000  # bytes that are searched for a NUL, as git does


class Text(NamedTuple):
    """A text, and how to write it back."""

    text: str
    """With its signature (U+FEFF) and line ends. Surrogates stand for what is invalid."""
    encoding: str
    extracted: bool = False
    """Whether it is the text of a document, which has one text, instead of one per line."""

    def encoded(self, text: str | None = None) -> bytes:
        """Return the text, or another in its place, as bytes."""
        return (self.text if text is None else text).encode(self.encoding, _errors(self.encoding))

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.encoded()).hexdigest()

    def invalid_line(self) -> int | None:
        """Return the number, from 1, of the first line with bytes that are not UTF-8."""
        if not self.text.isascii():
            for number, line in enumerate(self.text.split("\n"), 1):
                if any("\ud800" <= character <= "\udfff" for character in line):
                    return number
        return None

    def parts(self) -> Iterator[tuple[int, str]]:
        """Yield the texts that `tag` sees, each with its offset: lines without their ends, or an
        extracted text as a whole."""
        if self.extracted:
            yield 0, self.text
            return
        start = 0
        for line in self.text.split("\n"):
            yield start, line.removesuffix("\r")
            start += len(line) + 1


def read_text(path: Path, *, binary: bool = True) -> Text:
    """Read a text file, standard input (`-`), or the text of a document.

    Raises `DataError` if it cannot be read; if it is not the UTF-16 or UTF-32 that its signature
    promises; unless `binary`, if it contains NUL characters and no signature.
    """
    if path != STDIN and is_document(path):
        return Text(extract(path), "utf-8", extracted=True)
    return read_plain(path, binary=binary)


def read_plain(path: Path, *, binary: bool = True) -> Text:
    """Read a text file or standard input as `read_text` does, whatever its suffix."""
    data = sys.stdin.buffer.read() if path == STDIN else read_input(path, _LIMIT)
    return decode_exactly(data, path, binary=binary)


def decode_exactly(data: bytes, path: Path, *, binary: bool = True) -> Text:
    """Decode bytes so that `Text.encoded` returns them. Raises `DataError` as `read_text` does."""
    encoding = exact_encoding(data[:4])
    if not binary and is_binary(data):
        raise DataError(f"{path}: is a binary file")
    try:
        text = Text(data.decode(encoding, _errors(encoding)), encoding)
        if text.encoded() == data:
            return text
    except UnicodeError:
        pass
    raise DataError(f"{path}: starts with the signature of {encoding.upper()[:6]}, but is not that")


def is_binary(head: bytes) -> bool:
    """Whether a file that begins so is no text: it has a NUL in its first 8 000 bytes, as git
    decides, and no signature of UTF-16 or UTF-32."""
    return b"\0" in head[:_HEAD] and exact_encoding(head[:4]) == "utf-8"


def _errors(encoding: str) -> str:
    return "surrogateescape" if codecs.lookup(encoding).name == "utf-8" else "surrogatepass"
