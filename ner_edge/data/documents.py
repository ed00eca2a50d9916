"""Texts whose entities have character offsets, and their conversion to sentences of words."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ner_edge.data.corpus import DOCSTART, Located, Problem, Sentence, shortened
from ner_edge.segment import Word, segment, trimmed
from ner_edge.spans import Span

OVERLAPS = "overlaps another entity"


class CharSpan(NamedTuple):
    """A labelled span of characters. Offsets count code points and are half-open."""

    start: int
    end: int
    label: str
    score: float | None = None
    """0 to 1."""


class Document(NamedTuple):
    """A text and its entities, in the order of the file: what every format reads and writes."""

    line: int
    """In its file, from 1."""
    text: str
    spans: list[CharSpan]
    rejected: str = ""
    """Why the text is no gold, such as that an annotator rejected it; empty if it is."""
    predicted: bool = False
    """Whether a model found the entities."""
    sentences: list[list[Word]] | None = None
    """The words of each sentence, if the file has them. Training and evaluation of a format with
    texts use the words of `segment` instead, as `tag` does."""
    fields: Mapping[str, Any] = MappingProxyType({})
    """What else the file says of the text, such as an `id`."""

    @property
    def is_docstart(self) -> bool:
        """Whether this is the line that opens a document in CoNLL columns."""
        return self.sentences is not None and self.text == DOCSTART


def sentences_of(
    document: Document, sentences: Sequence[Sequence[Word]] | None = None
) -> tuple[list[Located], list[Problem]]:
    """Split a text into `sentences`, by default those that `tag` would see; also returns the
    entities left out.

    A sentence is unusable if one of its entities does not start and end at word boundaries, or if
    an annotator rejected the text. Of overlapping entities the longest is kept.
    """
    sentences = list(segment(document.text)) if sentences is None else sentences
    if document.rejected:
        return _rejected(document, sentences)
    words = _Words(sentences)
    spans: list[list[Span]] = [[] for _ in sentences]
    unusable: dict[int, str] = {}
    kept, dropped = outermost(document.spans)
    left_out = [left_out_of(document, span, OVERLAPS) for span in dropped]
    for span in kept:
        start, end = span.start, span.end
        if start not in words.starts or end not in words.ends:
            start, end = trimmed(document.text, start, end)
        first, last = words.starts.get(start), words.ends.get(end)
        if first is not None and last is not None and first[0] == last[0]:
            spans[first[0]].append(Span(first[1], last[1] + 1, span.label))
            continue
        if first is not None and last is not None:
            reason = "runs into the next sentence"
        else:
            reason = "does not start and end at word boundaries"
        unusable.update((i, f"an entity {reason}") for i in words.sentences_between(start, end))
        left_out.append(left_out_of(document, span, reason))
    located = [
        Located(_sentence(words, sorted(found)), document.line, unusable.get(i))
        for i, (words, found) in enumerate(zip(sentences, spans, strict=True))
    ]
    return located, left_out


class _Words:
    """The words of all sentences by their offsets; a place is (sentence, word)."""

    def __init__(self, sentences: Sequence[Sequence[Word]]) -> None:
        self._words = [word for sentence in sentences for word in sentence]
        self._places = [(i, j) for i, words in enumerate(sentences) for j in range(len(words))]
        pairs = list(zip(self._words, self._places, strict=True))
        self.starts = {word.start: place for word, place in pairs}
        self.ends = {word.end: place for word, place in pairs}

    def sentences_between(self, start: int, end: int) -> list[int]:
        touched = slice(
            bisect_right(self._words, start, key=lambda word: word.end),
            bisect_left(self._words, end, key=lambda word: word.start),
        )
        return [i for i, _ in self._places[touched]]


def _rejected(
    document: Document, sentences: Sequence[Sequence[Word]]
) -> tuple[list[Located], list[Problem]]:
    line, reason = document.line, document.rejected
    located = [Located(_sentence(words), line, reason) for words in sentences]
    left_out = [left_out_of(document, span, reason) for span in document.spans]
    return located, left_out or [Problem(line, reason)]


def _sentence(words: Sequence[Word], spans: Sequence[Span] = ()) -> Sentence:
    return Sentence([word.text for word in words], list(spans))


def left_out_of(document: Document, span: CharSpan, reason: str) -> Problem:
    """Return the problem of an entity that cannot be kept."""
    entity = shortened(document.text[span.start : span.end])
    return Problem(document.line, f"{entity} {reason}")


def document_of(sentence: Sentence, line: int) -> Document:
    """Return the text of a sentence, its words joined by single spaces."""
    words: list[Word] = []
    start = 0
    for word in sentence.words:
        words.append(Word(word, start, start + len(word)))
        start += len(word) + 1
    spans = [
        CharSpan(words[first].start, words[end - 1].end, label)
        for first, end, label in sentence.spans
    ]
    return Document(line, sentence.text, spans, sentences=[words])


def outermost(spans: Iterable[CharSpan]) -> tuple[list[CharSpan], list[CharSpan]]:
    """Split spans into those kept and those dropped because they overlap a longer one."""
    return without_overlaps(spans, lambda span: span.start - span.end)


def without_overlaps(
    spans: Iterable[CharSpan], rank: Callable[[CharSpan], Any]
) -> tuple[list[CharSpan], list[CharSpan]]:
    """Split spans into those kept and those dropped because they overlap a kept one.

    Spans of lower `rank` take precedence; duplicates are removed. Both lists are in text order.
    """
    kept: list[CharSpan] = []
    dropped = []
    for span in sorted(dict.fromkeys(spans), key=rank):
        place = bisect_left(kept, span.start, key=lambda other: other.start)
        before, after = kept[max(0, place - 1) : place], kept[place : place + 1]
        if any(other.end > span.start for other in before) or any(
            other.start < span.end for other in after
        ):
            dropped.append(span)
        else:
            kept.insert(place, span)
    return kept, sorted(dropped, key=lambda span: span.start)
