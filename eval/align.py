"""Predictions for a text, laid on the gold's words, however the text is cut and spaced."""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ner_edge.data.corpus import DOCSTART, shortened
from ner_edge.data.documents import CharSpan, Document, without_overlaps
from ner_edge.errors import DataError
from ner_edge.spans import Span
from ner_edge.visible import VisibleText, is_blank


@dataclass(frozen=True)
class Aligned:
    """Predicted entities over the gold's words, sentence by sentence, and how well they fit."""

    spans: list[list[tuple[Span, float | None]]]
    widened: int
    """Entities that did not begin and end with words of one sentence, and now do."""
    overlapping: int
    """Entities that were dropped because they overlap a more probable or longer one."""


def align(documents: Iterable[Document], sentences: Sequence[Sequence[str]], path: Path) -> Aligned:
    """Lay the entities of `documents` on the words of the gold's `sentences`.

    Both must be the same text but for white space and what cannot be seen; where it is cut into
    documents does not matter. Raises `DataError` saying where the texts part.
    """
    words = [(i, j) for i, sentence in enumerate(sentences) for j in range(len(sentence))]
    inks = [_ink(sentences[i][j]) for i, j in words]
    gold = "".join(inks)
    ends = list(accumulate(map(len, inks)))  # of each word, in characters of `gold`
    found: list[list[CharSpan]] = [[] for _ in sentences]
    widened = position = 0
    for document in documents:
        text = document.text
        if text.startswith(DOCSTART) and not gold.startswith(DOCSTART, position):
            text = " " * len(DOCSTART) + text[len(DOCSTART) :]
        inked = _inked(text)
        here = "".join(text[i] for i in inked)
        if not gold.startswith(here, position):
            raise _parting(path, document.line, here, gold[position:], sentences, words, ends)
        for mark in document.spans:
            first, last = bisect_left(inked, mark.start), bisect_left(inked, mark.end)
            if first == last:
                continue  # a blank entity
            begin, end = position + first, position + last
            start_word, end_word = bisect_right(ends, begin), bisect_left(ends, end)
            sentence, start = words[start_word]
            fits = ends[start_word] - len(inks[start_word]) == begin and ends[end_word] == end
            if words[end_word][0] != sentence:
                fits, stop = False, len(sentences[sentence])
            else:
                stop = words[end_word][1] + 1
            widened += not fits
            found[sentence].append(CharSpan(start, stop, mark.label, mark.score))
        position += len(here)
    if position < len(gold):
        place = words[bisect_right(ends, position)][0]
        raise DataError(
            f"{path}: ends before the gold's sentence {place + 1} of {len(sentences)}: "
            f"{shortened(gold[position:])}"
        )
    return _flat(found, widened)


def _flat(found: Sequence[Sequence[CharSpan]], widened: int) -> Aligned:
    spans: list[list[tuple[Span, float | None]]] = []
    overlapping = 0
    for marks in found:
        kept, dropped = without_overlaps(
            marks, lambda mark: (-(mark.score or 0), mark.start - mark.end)
        )
        spans.append([(Span(mark.start, mark.end, mark.label), mark.score) for mark in kept])
        overlapping += len(dropped)
    return Aligned(spans, widened, overlapping)


def _parting(
    path: Path,
    line: int,
    here: str,
    gold: str,
    sentences: Sequence[Sequence[str]],
    words: Sequence[tuple[int, int]],
    ends: Sequence[int],
) -> DataError:
    pairs = enumerate(zip(here, gold, strict=False))
    common = next((i for i, (a, b) in pairs if a != b), min(len(here), len(gold)))
    where = (ends[-1] if ends else 0) - len(gold) + common
    if common == len(gold):
        return DataError(
            f"{path}:{line}: has extra text after the gold's last sentence: "
            f"{shortened(here[common:])}"
        )
    sentence, word = words[bisect_right(ends, where)]
    return DataError(
        f"{path}:{line}: differs from the gold at sentence {sentence + 1}, word {word + 1} "
        f"({shortened(sentences[sentence][word])}): found {shortened(here[common:])}, expected "
        f"{shortened(gold[common:])} (ignoring white space)"
    )


def _ink(text: str) -> str:
    return "".join(text[i] for i in _inked(text))


def _inked(text: str) -> list[int]:
    """Where the characters stand that our segmentation would put into a word, but for joiners."""
    visible = VisibleText(text)
    return [visible.start(i) for i, character in enumerate(visible.text) if _is_ink(character)]


def _is_ink(character: str) -> bool:
    return not is_blank(character) and unicodedata.category(character) not in ("Cc", "Cs")
