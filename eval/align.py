"""Align predictions with the gold's words, however their text is spaced and split."""

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
    """Predicted entities over the gold's words, sentence by sentence."""

    spans: list[list[tuple[Span, float | None]]]
    """With the entity's score."""
    widened: int
    """Entities that were widened to whole words of one sentence."""
    overlapping: int
    """Entities that were dropped because a more probable or longer one overlaps them."""


def align(documents: Iterable[Document], sentences: Sequence[Sequence[str]], path: Path) -> Aligned:
    """Map the entities of `documents` to the words of the gold's `sentences`.

    Both must have the same visible text; document boundaries do not matter. Raises `DataError`
    naming the place in `path` where the texts differ.
    """
    gold = _GoldText(sentences)
    found: list[list[CharSpan]] = [[] for _ in sentences]
    widened = position = 0
    for document in documents:
        text = document.text
        if text.startswith(DOCSTART) and not gold.text.startswith(DOCSTART, position):
            text = " " * len(DOCSTART) + text[len(DOCSTART) :]
        visible = _visible_offsets(text)
        here = "".join(text[i] for i in visible)
        if not gold.text.startswith(here, position):
            raise _difference(f"{path}:{document.line}", here, gold, position)
        for mark in document.spans:
            first, last = bisect_left(visible, mark.start), bisect_left(visible, mark.end)
            if first == last:
                continue  # an entity without visible text
            sentence, start, end, fits = gold.words_at(position + first, position + last)
            widened += not fits
            found[sentence].append(CharSpan(start, end, mark.label, mark.score))
        position += len(here)
    if position < len(gold.text):
        sentence, _ = gold.word_at(position)
        raise DataError(
            f"{path}: ends before the gold's sentence {sentence + 1} of {len(sentences)}: "
            f"{shortened(gold.text[position:])}"
        )
    return _without_overlaps(found, widened)


class _GoldText:
    """The visible characters of the gold in one string, and the word at each of them."""

    def __init__(self, sentences: Sequence[Sequence[str]]) -> None:
        self.sentences = sentences
        self._words = [(i, j) for i, sentence in enumerate(sentences) for j in range(len(sentence))]
        texts = [_visible(sentences[i][j]) for i, j in self._words]
        self.text = "".join(texts)
        self._ends = list(accumulate(map(len, texts)))  # of the words, in `text`
        self._starts = [0, *self._ends][:-1]

    def word_at(self, position: int) -> tuple[int, int]:
        """Return the sentence, and the word in it, of the character at `position` in `text`."""
        return self._words[bisect_right(self._ends, position)]

    def words_at(self, start: int, end: int) -> tuple[int, int, int, bool]:
        """Return the sentence, the first word and the end of the words that cover
        `text[start:end]`, and whether they cover nothing else. Words of a second sentence are left
        out."""
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, end)
        sentence, first_word = self._words[first]
        last_sentence, last_word = self._words[last]
        if last_sentence != sentence:
            return sentence, first_word, len(self.sentences[sentence]), False
        fits = self._starts[first] == start and self._ends[last] == end
        return sentence, first_word, last_word + 1, fits


def _without_overlaps(found: Sequence[Sequence[CharSpan]], widened: int) -> Aligned:
    spans: list[list[tuple[Span, float | None]]] = []
    overlapping = 0
    for marks in found:
        kept, dropped = without_overlaps(
            marks, lambda mark: (-(mark.score or 0), mark.start - mark.end)
        )
        spans.append([(Span(mark.start, mark.end, mark.label), mark.score) for mark in kept])
        overlapping += len(dropped)
    return Aligned(spans, widened, overlapping)


def _difference(place: str, here: str, gold: _GoldText, position: int) -> DataError:
    rest = gold.text[position:]
    pairs = enumerate(zip(here, rest, strict=False))
    common = next((i for i, (a, b) in pairs if a != b), min(len(here), len(rest)))
    if common == len(rest):
        return DataError(
            f"{place}: has extra text after the gold's last sentence: {shortened(here[common:])}"
        )
    sentence, word = gold.word_at(position + common)
    return DataError(
        f"{place}: differs from the gold at sentence {sentence + 1}, word {word + 1} "
        f"({shortened(gold.sentences[sentence][word])}): found {shortened(here[common:])}, "
        f"expected {shortened(rest[common:])} (ignoring white space)"
    )


def _visible(text: str) -> str:
    return "".join(text[i] for i in _visible_offsets(text))


def _visible_offsets(text: str) -> list[int]:
    """The offsets of the characters that segmentation would put into words, except joiners."""
    visible = VisibleText(text)
    return [visible.start(i) for i, character in enumerate(visible.text) if _is_visible(character)]


def _is_visible(character: str) -> bool:
    return not is_blank(character) and unicodedata.category(character) not in ("Cc", "Cs")
