import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.data.schemes import iob1_from_spans
from ner_edge.errors import DataError
from ner_edge.spans import Span, iob2_from_spans, spans_from_tags

Labelled = tuple[list[Span], int]


@st.composite
def labelled(draw: st.DrawFn) -> Labelled:
    """Disjoint spans in order, many of them touching, and the length of their sentence."""
    spans, position = [], 0
    for _ in range(draw(st.integers(0, 5))):
        start = position + draw(st.integers(0, 2))
        position = start + draw(st.integers(1, 3))
        spans.append(Span(start, position, draw(st.sampled_from(["PER", "LOC", "B-side"]))))
    return spans, position + draw(st.integers(0, 2))


@settings(deadline=None)
@given(labelled())
def test_iob2_round_trip(example: Labelled) -> None:
    spans, length = example
    tags = iob2_from_spans(spans, length)
    assert len(tags) == length
    assert spans_from_tags(tags) == spans
    assert sum(tag.startswith("B-") for tag in tags) == len(spans)


@settings(deadline=None)
@given(labelled())
def test_iob1_round_trip(example: Labelled) -> None:
    spans, length = example
    tags = iob1_from_spans(reversed(spans), length)
    assert len(tags) == length
    assert spans_from_tags(tags) == spans


def test_iob1_says_begin_only_between_two_of_one_label() -> None:
    spans = [Span(0, 2, "PER"), Span(2, 3, "PER"), Span(3, 4, "LOC"), Span(5, 6, "LOC")]
    tags = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC"]
    assert iob1_from_spans(spans, 6) == tags
    assert spans_from_tags(tags) == spans


@pytest.mark.parametrize("tag", ["", "B-", "I-", "O-PER", "E-PER", "PER", "o", "B", "BPER"])
def test_what_is_no_tag_is_refused_by_name(tag: str) -> None:
    with pytest.raises(DataError, match=f"^'{tag}' is not an IOB tag"):
        spans_from_tags(["O", tag])
