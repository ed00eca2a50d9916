"""The result of a decoder."""

from typing import NamedTuple

from ner_edge.spans import ScoredSpan
from ner_edge.word_head import Reading


class Decoded(NamedTuple):
    """The entities of a sentence, and what was found while reading it, if it was read both ways."""

    spans: list[ScoredSpan]
    reading: Reading | None = None
