"""Passages to train on: consecutive sentences of a document, read as one."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from ner_edge.data.corpus import Sentence
from ner_edge.passages import BREAK, passages
from ner_edge.spans import Span

Item = TypeVar("Item")

LONGEST = 100
_SHORTEST = 20  # words; the limit of each passage is drawn from this range
_APART = 0.1  # of the documents, so that a model does not trust neighbours of another text


def shuffled(documents: Sequence[Sequence[Item]], rng: Random) -> list[Sequence[Item]]:
    """Take some documents apart and return the others, then one of all the sentences in random
    order."""
    whole: list[Sequence[Item]] = []
    mixed: list[Item] = []
    for document in documents:
        if rng.random() < _APART:
            mixed += document
        else:
            whole.append(document)
    rng.shuffle(mixed)
    return [*whole, mixed]


def cut(document: Sequence[Sentence], rng: Random) -> Iterator[Sequence[Sentence]]:
    """Yield all of a document in passages of random length, of up to `LONGEST` words or of one
    longer sentence."""
    start = 0
    while start < len(document):
        limit = rng.randint(_SHORTEST, LONGEST)
        passage = next(of_words(document[start : start + limit], limit))
        yield passage
        start += len(passage)


def of_words(document: Sequence[Sentence], most: int) -> Iterator[list[Sentence]]:
    """Yield a document in passages of at most so many words, as a tagger reads it."""
    return passages(document, lambda some: sum(len(one.words) for one in some) <= most)


def joined(sentences: Sequence[Sentence]) -> Sentence:
    """Return the words of all sentences, with their entities and a `BREAK` between any two."""
    words: list[str] = []
    spans: list[Span] = []
    for sentence in sentences:
        words += [BREAK] * bool(words)
        spans += [Span(len(words) + s, len(words) + e, label) for s, e, label in sentence.spans]
        words += sentence.words
    return Sentence(words, spans)
