"""What a decoder is asked for, and its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ner_edge.consistency import LogProbabilities
from ner_edge.spans import ScoredSpan
from ner_edge.word_head import Reading


class Decoded(NamedTuple):
    """The entities of a sentence, and what was found while reading it, if it was read both ways."""

    spans: list[ScoredSpan]
    reading: Reading | None = None


Passage = Sequence[Sequence[str]]
"""The words of consecutive sentences, which are read as one."""

Document = Sequence[Passage]
"""The passages of a document, or of a part of one. All are read before any is tagged."""


@dataclass(eq=False)
class Request:
    """A passage to decode."""

    sentences: Passage
    document: Sequence["Request"] = ()
    """Those for all passages of the document that have words."""
    found: dict[int, Decoded] = field(default_factory=dict)
    """The results so far, by the index of the sentence."""
    tags: list[LogProbabilities] | None = None
    """Those of each sentence, once it is read."""
    cancelled: bool = False
    """Whether its caller has left."""

    @property
    def done(self) -> bool:
        """Whether all results are there."""
        return len(self.found) == len(self.sentences)


Take = Callable[[], Request | None]
"""Gives the next request, or None if none is waiting."""
