"""Parts: the pieces of the input files, each of which becomes one file of the output."""

import hashlib
from typing import Any, NamedTuple

import msgspec

PART_BYTES = 250_000
"""A part ends when its texts have this size, however few they are: about 2 000 sentences."""


class Part(msgspec.Struct, frozen=True):
    """Some successive rows of an input file."""

    input: int
    """The number of the file, from 0."""
    first: int
    """Its first row, from 1."""
    rows: int
    offset: int
    """Where it begins: in bytes, or in a Parquet file in rows of its row group."""
    size: int = 0
    """In bytes; 0 in a Parquet file."""
    line: int = 0
    """Its first line, from 1; 0 in a Parquet file."""
    group: int = 0
    """The number of its row group in a Parquet file, from 0."""
    sha256: str = ""
    """The hash of its bytes, or that of a Parquet file's footer."""


class Content(NamedTuple):
    """The rows of a part."""

    texts: list[Any]
    """The values of the text column, which should be strings."""
    problems: list[str | None]
    """Why a row could not be read in full."""
    rows: Any
    """A list of records, or a table of pyarrow; both without the new columns."""

    def add(self, record: dict[str, Any], text: object, problem: str | None) -> None:
        """Add a record, its text and its problem."""
        self.texts.append(text)
        self.problems.append(problem)
        self.rows.append(record)


class Cutter:
    """Cuts a file of lines into parts, as its records go by."""

    def __init__(self, number: int, part_size: int) -> None:
        self._number = number
        self._part_size = part_size
        self._parts: list[Part] = []
        self._first = self._line = 1
        self._offset = 0
        self._begin()

    def _begin(self) -> None:
        self._rows = self._size = self._lines = 0
        self._digest = hashlib.sha256()

    def skip(self, data: bytes) -> None:
        """Leave out what precedes a part: the head of a table, or empty lines."""
        self._offset += len(data)
        self._line += data.count(b"\n")

    def add(self, data: bytes, *, rows: int = 1) -> None:
        """Add a record, or with no `rows` an empty line."""
        if not self._rows and not rows:  # a part of empty lines would hold no text
            self.skip(data)
            return
        if self._rows >= self._part_size or self._size >= PART_BYTES:
            self._end()
        self._rows += rows
        self._size += len(data)
        self._lines += data.count(b"\n")
        self._digest.update(data)

    @property
    def line(self) -> int:
        """The number of the next line, from 1."""
        return self._line + self._lines

    def parts(self) -> list[Part]:
        """Return all parts, once every record is added."""
        if self._rows:
            self._end()
        return self._parts

    def _end(self) -> None:
        self._parts.append(
            Part(
                self._number,
                self._first,
                self._rows,
                self._offset,
                size=self._size,
                line=self._line,
                sha256=self._digest.hexdigest(),
            )
        )
        self._first += self._rows
        self._offset += self._size
        self._line += self._lines
        self._begin()
