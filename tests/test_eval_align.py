"""Predictions are aligned with the gold's words, whatever invisible characters either has."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.data.documents import CharSpan, Document
from ner_edge.eval.align import align
from ner_edge.segment import segment
from ner_edge.spans import Span

HERE = Path("predictions.jsonl")


def aligned(text: str, marks: list[CharSpan], sentences: list[list[str]]) -> list[Span]:
    found = align([Document(1, text, marks)], sentences, HERE)
    assert (found.widened, found.overlapping) == (0, 0)
    return [span for spans in found.spans for span, _ in spans]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("\u200eEm\xadma\u200f in Rome", "Emma"),
        ("Emma in Rome", "\u200eEm\xadma\u200b"),
        ("e" + "\u0301" * 9 + " in Rome", "e" + "\u0301" * 4),
        ("می\u200cخواهم in Rome", "میخواهم"),
    ],
)
def test_what_cannot_be_seen_makes_no_difference(text: str, word: str) -> None:
    marks = [CharSpan(0, text.index(" "), "PER"), CharSpan(len(text) - 4, len(text), "LOC")]
    assert aligned(text, marks, [[word, "in", "Rome"]]) == [Span(0, 1, "PER"), Span(2, 3, "LOC")]


@given(st.text(st.sampled_from("aB .\u0301\u200b\u200d\u200c\xad\ufe0f\0字مक्👩🇩ไ่")))
def test_every_word_of_segmentation_is_found_again(text: str) -> None:
    sentences = list(segment(text))
    marks = [CharSpan(word.start, word.end, "X") for words in sentences for word in words]
    expected = [Span(i, i + 1, "X") for words in sentences for i in range(len(words))]
    words = [[word.text for word in words] for words in sentences]
    assert aligned(text, marks, words) == expected
