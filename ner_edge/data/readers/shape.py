"""What every JSON format says of itself: one row in the table of formats."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ner_edge.data.corpus import Problem
from ner_edge.data.readers.contents import Contents, Record


class Place(NamedTuple):
    """Where a record stands: its line and, in a list of records, its number."""

    line: int
    number: int | None = None

    def problem(self, message: str) -> Problem:
        """What is wrong there."""
        prefix = "" if self.number is None else f"record {self.number}: "
        return Problem(self.line, prefix + message)


class Shape(NamedTuple):
    """A format of records, each a value in JSON."""

    name: str
    wanted: str
    """How a record looks, behind the word `expected`."""
    fits: Callable[[Any], bool]
    """Is the value such a record?"""
    read: Callable[[Any, Place, Contents], Record]
    """The record; what is wrong with a part of it goes into the contents. Raises `ValueError` for
    what cannot be read at all."""
