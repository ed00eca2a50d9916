"""A format of texts with entities: one row of the table in `table`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from ner_edge.data.corpus import Problem
from ner_edge.data.documents import CharSpan, Document, left_out_of
from ner_edge.data.formats.contents import Contents, ReadOptions


class Holds(Enum):
    """What a format can hold besides labelled, flat entities."""

    TEXT = auto()
    """The text with its white space, and offsets in it."""
    WORDS = auto()
    """The words and sentences of the file, rather than those that `segment` finds."""
    DOCSTART = auto()
    """The `-DOCSTART-` lines that open documents."""
    SCORES = auto()
    NESTED = auto()
    """Entities that overlap."""
    ID = auto()
    """A name of each text."""
    FIELDS = auto()
    """Further fields of a text, such as its source or date."""


@dataclass
class Losses:
    """What could not be written: grows as texts are."""

    left_out: list[Problem] = field(default_factory=list)
    """Entities, words that keep their sentence from being written, and texts."""
    entities: int = 0
    """Entities that are not written, those of sentences that are not written included."""
    unkept: Counter[str] = field(default_factory=Counter)
    """What else is lost, such as `scores`, and for how many texts."""

    def leave_out(self, document: Document, span: CharSpan, reason: str) -> None:
        """Note an entity that is not written."""
        self.left_out.append(left_out_of(document, span, reason))
        self.entities += 1


Read = Callable[[Path, ReadOptions], Contents]
"""Raises `DataError` if the file cannot be read at all."""
Write = Callable[[Iterable[Document], Losses], Iterator[str]]
"""Texts → pieces of the output."""
Save = Callable[[Iterable[Document], Path, Losses], None]
"""Writes texts into an empty file or folder: those of a format that is no stream of text."""


@dataclass(frozen=True)
class Format:
    """How to read and write a format; it has either `write` or `save`."""

    name: str
    suffixes: tuple[str, ...] = ()
    """Those of files that are written in this format unless another is asked for."""
    holds: frozenset[Holds] = frozenset()
    read: Read | None = None
    write: Write | None = None
    save: Save | None = None
    is_folder: bool = False
