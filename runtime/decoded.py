"""What a decoder is asked for, and its answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ner_edge.spans import ScoredSpan
from ner_edge.word_head import Reading


class Decoded(NamedTuple):
    """The entities of a sentence, and what was found while reading it, if it was read both ways."""

    spans: list[ScoredSpan]
    reading: Reading | None = None


@dataclass(eq=False)
class Request:
    """A sentence to decode."""

    words: Sequence[str]
    result: Decoded | None = None
    cancelled: bool = False
    """Whether its caller has left."""


Take = Callable[[], Request | None]
"""Gives the next request, or None if none is waiting."""
