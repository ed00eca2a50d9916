"""Passages: consecutive sentences of a document, read as one, each on a line of its own."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

BREAK = "\n"
"""Stands between the sentences of a passage."""

_Sentence = TypeVar("_Sentence")


def split(
    sentences: Iterable[_Sentence], fits: Callable[[list[_Sentence]], bool]
) -> Iterator[list[_Sentence]]:
    """Yield the sentences of a document in parts that fit, or of one sentence."""
    part: list[_Sentence] = []
    for sentence in sentences:
        if part and not fits([*part, sentence]):
            yield part
            part = []
        part.append(sentence)
    if part:
        yield part
