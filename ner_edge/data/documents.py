"""Texts whose entities have character offsets, and the sentences of words they hold."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ner_edge.data.corpus import Located, Problem, Sentence, shortened
from ner_edge.segment import segment, trimmed
from ner_edge.spans import Span


class Mark(NamedTuple):
    """Characters `start` to `end` (code points, half-open) carry `label`; `score` is 0 to 1."""

    start: int
    end: int
    label: str
    score: float | None = None


class Document(NamedTuple):
    """A text and its entities, in the order of the file; `line` counts from 1."""

    line: int
    text: str
    marks: list[Mark]
    rejected: str = ""
    """Why it is no gold, if an annotator said so."""


def sentences_of(document: Document) -> tuple[list[Located], list[Problem]]:
    """The sentences and words that `tag` would see, and the entities that they cannot express.

    A sentence with an entity that does not start and end at word boundaries is not usable, nor is
    what an annotator rejected. Of entities that overlap, the longest is kept.
    """
    text, line = document.text, document.line
    sentences = list(segment(text))
    if document.rejected:
        located = [
            Located(Sentence([word.text for word in sentence]), line, document.rejected)
            for sentence in sentences
        ]
        marked = [f"{_short(text, mark)} {document.rejected}" for mark in document.marks]
        return located, [Problem(line, message) for message in marked or [document.rejected]]
    words = [word for sentence in sentences for word in sentence]
    places = [(i, j) for i, sentence in enumerate(sentences) for j in range(len(sentence))]
    starts = {word.start: place for word, place in zip(words, places, strict=True)}
    ends = {word.end: place for word, place in zip(words, places, strict=True)}
    spans: list[list[Span]] = [[] for _ in sentences]
    unusable: dict[int, str] = {}
    kept, dropped = without_overlaps(document.marks, lambda mark: mark.start - mark.end)
    left_out = [Problem(line, f"{_short(text, mark)} overlaps another entity") for mark in dropped]
    for mark in kept:
        start, end = trimmed(text, mark.start, mark.end)
        first, last = starts.get(start), ends.get(end)
        if first is not None and last is not None and first[0] == last[0]:
            spans[first[0]].append(Span(first[1], last[1] + 1, mark.label))
            continue
        touched = slice(
            bisect_right(words, start, key=lambda word: word.end),
            bisect_left(words, end, key=lambda word: word.start),
        )
        crosses = first is not None and last is not None
        reason = (
            "runs into the next sentence"
            if crosses
            else "does not start and end at word boundaries"
        )
        unusable.update((i, f"an entity {reason}") for i, _ in places[touched])
        left_out.append(Problem(line, f"{_short(text, mark)} {reason}"))
    located = [
        Located(Sentence([word.text for word in sentence], sorted(found)), line, unusable.get(i))
        for i, (sentence, found) in enumerate(zip(sentences, spans, strict=True))
    ]
    return located, left_out


def document_of(sentence: Sentence, line: int) -> Document:
    """The sentence's text with offsets for its entities."""
    starts = [0]
    for word in sentence.words:
        starts.append(starts[-1] + len(word) + 1)
    marks = [Mark(starts[start], starts[end] - 1, label) for start, end, label in sentence.spans]
    return Document(line, sentence.text, marks)


def without_overlaps(
    marks: Iterable[Mark], rank: Callable[[Mark], Any]
) -> tuple[list[Mark], list[Mark]]:
    """The marks that stand when those of the lowest `rank` come first and none may overlap, and
    the others; repetitions do not count. Both in the order of the text."""
    kept: list[Mark] = []
    dropped = []
    for mark in sorted(dict.fromkeys(marks), key=rank):
        place = bisect_left(kept, mark.start, key=lambda other: other.start)
        before, after = kept[max(0, place - 1) : place], kept[place : place + 1]
        if any(other.end > mark.start for other in before) or any(
            other.start < mark.end for other in after
        ):
            dropped.append(mark)
        else:
            kept.insert(place, mark)
    return kept, sorted(dropped, key=lambda mark: mark.start)


def _short(text: str, mark: Mark) -> str:
    return shortened(text[mark.start : mark.end])
