"""Passages: consecutive sentences of one document that the model reads together.

What a name stands for is often said in the sentence before. A passage is put to the model like one
long sentence, so it takes no more tokens than its sentences do one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ner_edge.corpus import Sentence
from ner_edge.spans import ScoredSpan, Span

Item = TypeVar("Item")


def passages(
    sentences: Iterable[Item], length: Callable[[Item], int], limits: Iterator[int]
) -> Iterator[list[Item]]:
    """The sentences of a document in groups: as many as the next of `limits` allows by their
    `length` in words, and at least one."""
    passage: list[Item] = []
    words = limit = 0
    for sentence in sentences:
        more = length(sentence)
        if passage and words + more > limit:
            yield passage
            passage, words = [], 0
        if not passage:
            limit = next(limits)
        passage.append(sentence)
        words += more
    if passage:
        yield passage


def joined(documents: Iterable[Iterable[Sentence]], limits: Iterator[int]) -> list[Sentence]:
    """The passages of all documents, each as one long sentence."""
    return [
        _join(passage)
        for document in documents
        for passage in passages(document, lambda sentence: len(sentence.words), limits)
    ]


def _join(sentences: Sequence[Sentence]) -> Sentence:
    words: list[str] = []
    spans: list[Span] = []
    for sentence in sentences:
        spans += [Span(s + len(words), e + len(words), label) for s, e, label in sentence.spans]
        words += sentence.words
    return Sentence(words, spans)


def split(spans: Iterable[ScoredSpan], lengths: Sequence[int]) -> list[list[ScoredSpan]]:
    """The entities of a passage, sentence by sentence, of `lengths` words each. One that runs into
    the next sentence ends with its own."""
    parts: list[list[ScoredSpan]] = []
    waiting = sorted(spans)[::-1]
    start = 0
    for length in lengths:
        end = start + length
        parts.append([])
        while waiting and waiting[-1].start < end:
            first, stop, label, score = waiting.pop()
            parts[-1].append(ScoredSpan(first - start, min(stop, end) - start, label, score))
        start = end
    return parts
