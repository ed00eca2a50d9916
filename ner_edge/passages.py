"""Passages: consecutive sentences of a document, read as one, each on a line of its own."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

BREAK = "\n"
"""Stands between the sentences of a passage."""

_Sentence = TypeVar("_Sentence")


def passages(
    sentences: Iterable[_Sentence], fits: Callable[[list[_Sentence]], bool]
) -> Iterator[list[_Sentence]]:
    """Yield the sentences of a document in passages that fit, or of one sentence."""
    passage: list[_Sentence] = []
    for sentence in sentences:
        if passage and not fits([*passage, sentence]):
            yield passage
            passage = []
        passage.append(sentence)
    if passage:
        yield passage
