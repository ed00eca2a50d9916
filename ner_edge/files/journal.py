"""A file to which one line of JSON is appended per piece of work, so that a killed run resumes."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import msgspec

from ner_edge.errors import NerEdgeError

Record = TypeVar("Record")


class Journal(Generic[Record]):
    """The records in a file, in order, and those that are appended.

    A record that a killed process left unfinished is ignored, as is any other line that is not a
    `kind`. The file is readable by its owner only. Raises `NerEdgeError` if it cannot be written.
    """

    def __init__(self, path: Path, kind: type[Record]) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._handle = -1

    def __enter__(self) -> "Journal[Record]":
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            if not _ends_with_newline(self._path):
                os.write(self._handle, b"\n")
        except OSError as error:
            raise self._unwritable(error) from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def records(self) -> Iterator[Record]:
        """Yield the records of the file."""
        with self._path.open("rb") as lines:
            for line in lines:
                with suppress(ValueError, RecursionError):  # msgspec's errors are ValueErrors
                    yield self._decoder.decode(line)

    def append(self, record: Record) -> None:
        """Add a record, in one write."""
        line = msgspec.json.encode(record) + b"\n"
        try:
            written = os.write(self._handle, line)
        except OSError as error:
            raise self._unwritable(error) from None
        if written != len(line):
            raise NerEdgeError(f"{self._path}: cannot be written: the disk is full")

    def _unwritable(self, error: OSError) -> NerEdgeError:
        return NerEdgeError(f"{self._path}: cannot be written: {error.strerror}")


def _ends_with_newline(path: Path) -> bool:
    file: BinaryIO
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read() in (b"", b"\n")
