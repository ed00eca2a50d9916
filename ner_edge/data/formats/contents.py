"""The contents of a file, before texts are split into words and tags become spans."""

from dataclasses import dataclass, field

from ner_edge.data.corpus import Problem
from ner_edge.data.documents import Document
from ner_edge.data.formats.columns import Columns
from ner_edge.data.tagged import Tagged

Record = Document | Tagged


@dataclass(frozen=True)
class ReadOptions:
    """How to read a file."""

    columns: Columns | None = None
    """Those of word and tag in CoNLL files; None means to find them."""
    predicted: bool = False
    """Read the last of several columns of tags, as predictions."""
    texts_only: bool = False
    """Accept texts without entities."""


@dataclass
class Contents:
    """The records of a file in order, and its problems, as in `Labelled`."""

    format: str
    """`JSON`, `JSONL`, `CoNLL`, `CSV`, `Parquet`, `brat` or `spaCy`."""
    records: list[Record] = field(default_factory=list)
    layout: str = ""
    """How rows or records were read."""
    plain: bool = True
    """Whether there was only one way to read them."""
    illegal: list[Problem] = field(default_factory=list)
    doubtful: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    """What else the file contains that is not read, such as names of fields."""
    texts_only: bool = False
    """Whether texts without entities are accepted."""
