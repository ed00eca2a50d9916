"""A JSON format of labelled data: one row of the table in `formats`."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ner_edge.data.corpus import Problem
from ner_edge.data.formats.contents import Contents, Record


class Place(NamedTuple):
    """The place of a record: its line and, in a list of records, its number; both count from 1."""

    line: int
    number: int | None = None

    def problem(self, message: str) -> Problem:
        """Return a problem with this record."""
        prefix = "" if self.number is None else f"record {self.number}: "
        return Problem(self.line, prefix + message)


class RecordFormat(NamedTuple):
    """How to recognize and read a record, which is a JSON value."""

    name: str
    wanted: str
    """What a record looks like, for messages: `expected …`."""
    fits: Callable[[Any], bool]
    """Whether a value is such a record."""
    read: Callable[[Any, Place, Contents], Record]
    """Return the record, adding problems with parts of it to the contents. Raises `ValueError` if
    the record cannot be read at all."""
