"""The contents of a file, before texts are split into words and tags become spans."""

from dataclasses import dataclass, field

from ner_edge.data.corpus import Problem
from ner_edge.data.documents import Document
from ner_edge.data.tagged import Tagged

Record = Document | Tagged


@dataclass
class Contents:
    """The records of a file in order, and its problems, as in `Labelled`."""

    format: str
    """`JSON`, `JSONL` or `CoNLL`."""
    records: list[Record] = field(default_factory=list)
    layout: str = ""
    """How rows or records were read."""
    plain: bool = True
    """Whether there was only one way to read them."""
    illegal: list[Problem] = field(default_factory=list)
    doubtful: list[Problem] = field(default_factory=list)
    left_out: list[Problem] = field(default_factory=list)
