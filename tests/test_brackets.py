import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.brackets import Parsed, parse_brackets, write_brackets
from ner_edge.spans import Span

LABELS = ("PER", "ORG", "LOC", "MISC")

words = st.one_of(
    st.sampled_from(["[", "]", "|", "[[", "[|", "|]", "PER]", "[a", "a]", "[|]", "a", "LOC", "]]"]),
    st.text(min_size=1, max_size=5).filter(lambda text: text.split() == [text]),
)
sentences = st.lists(words, min_size=1, max_size=12)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[str], list[Span]]:
    """Words with disjoint spans, none of which holds the word `|`."""
    sentence = draw(sentences)
    spans, position = [], 0
    while position < len(sentence):
        end = draw(st.integers(position, min(position + 4, len(sentence))))
        if end > position and "|" not in sentence[position:end]:
            spans.append(Span(position, end, draw(st.sampled_from(LABELS))))
        position = max(end, position + 1)
    return sentence, spans


def assert_sound(spans: list[Span], length: int) -> None:
    """In order, in range, not empty, not overlapping, with known labels."""
    position = 0
    for start, end, label in spans:
        assert position <= start < end <= length
        assert label in LABELS
        position = end


def test_the_format() -> None:
    sentence = ["Hussain", ",", "surplus", "to", "England", "'s", "needs"]
    spans = [Span(0, 1, "PER"), Span(4, 5, "LOC")]
    text = "[Hussain | PER] , surplus to [England | LOC] 's needs"
    assert write_brackets(sentence, spans) == text
    assert parse_brackets(text, sentence, LABELS) == Parsed(spans, True, True, sentence, spans)


@settings(deadline=None)
@given(labelled())
def test_parsing_inverts_writing(example: tuple[list[str], list[Span]]) -> None:
    sentence, spans = example
    output = write_brackets(sentence, spans)
    assert parse_brackets(output, sentence, LABELS) == Parsed(spans, True, True, sentence, spans)
    assert parse_brackets(output + " \nmore [x | PER]", sentence, LABELS).spans == spans


@settings(deadline=None)
@given(
    st.one_of(
        st.text(),
        st.lists(st.one_of(words, st.sampled_from(["PER]", "| ORG]", "[a", "XXX]"]))).map(" ".join),
    ),
    sentences,
)
def test_any_output_gives_sound_spans(output: str, sentence: list[str]) -> None:
    parsed = parse_brackets(output, sentence, LABELS)
    assert_sound(parsed.spans, len(sentence))
    if parsed.faithful:
        assert write_brackets(sentence, parsed.spans).split() == output.partition("\n")[0].split()


@settings(deadline=None)
@given(labelled(), st.data())
def test_a_damaged_copy_gives_sound_spans(
    example: tuple[list[str], list[Span]], data: st.DataObject
) -> None:
    sentence, spans = example
    chunks = write_brackets(sentence, spans).split()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(chunks)))
        chunks[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(words, max_size=2))
    assert_sound(parse_brackets(" ".join(chunks), sentence, LABELS).spans, len(sentence))


SOURCE = ["Ada", "Lovelace", "met", "Babbage", "in", "London"]


@pytest.mark.parametrize(
    ("output", "spans", "well_formed"),
    [
        pytest.param(
            "[Ada Loveless | PER] met [Babbage | PER] in [London | LOC]",
            [Span(0, 2, "PER"), Span(3, 4, "PER"), Span(5, 6, "LOC")],
            True,
            id="substituted word",
        ),
        pytest.param(
            "[Ada | PER] met [Babbage | PER] in [London | LOC]",
            [Span(0, 1, "PER"), Span(3, 4, "PER"), Span(5, 6, "LOC")],
            True,
            id="omitted word",
        ),
        pytest.param(
            "[Ada Lovelace | PER] happily met [Babbage | PER] in old [London | LOC]",
            [Span(0, 2, "PER"), Span(3, 4, "PER"), Span(5, 6, "LOC")],
            True,
            id="added words",
        ),
        pytest.param(
            "Ada Lovelace met Babbage in [York City | LOC] London",
            [],
            True,
            id="entity of added words",
        ),
        pytest.param(
            "[Ada Lovelace met [Babbage | PER] in [London | LOC]",
            [Span(3, 4, "PER"), Span(5, 6, "LOC")],
            False,
            id="bracket never closed",
        ),
        pytest.param(
            "[Ada Lovelace | PER] met Babbage in [London",
            [Span(0, 2, "PER")],
            False,
            id="bracket open at the end",
        ),
        pytest.param(
            "[Ada Lovelace | POET] met Babbage in [London | LOC]",
            [Span(5, 6, "LOC")],
            False,
            id="unknown label",
        ),
        pytest.param(
            "[Ada [Lovelace | PER] | ORG] met Babbage in [London | LOC]",
            [Span(1, 2, "PER"), Span(5, 6, "LOC")],
            False,
            id="nested brackets",
        ),
        pytest.param("[ | PER] Ada Lovelace", [], False, id="empty entity"),
        pytest.param("[Ada Lovelace | PER] met", [Span(0, 2, "PER")], True, id="cut short"),
        pytest.param("", [], True, id="nothing"),
    ],
)
def test_an_unfaithful_output_is_aligned(output: str, spans: list[Span], well_formed: bool) -> None:
    parsed = parse_brackets(output, SOURCE, LABELS)
    assert (parsed.spans, parsed.well_formed, parsed.faithful) == (spans, well_formed, False)


def test_an_unfaithful_output_s_own_words_and_entities() -> None:
    parsed = parse_brackets("[Ada Loveless | PER] met him in [London | LOC]", SOURCE, LABELS)
    assert parsed.output_words == ["Ada", "Loveless", "met", "him", "in", "London"]
    assert parsed.output_spans == [Span(0, 2, "PER"), Span(5, 6, "LOC")]


def test_words_before_brackets_when_the_source_holds_brackets() -> None:
    sentence = ["[", "London", "|", "LOC]", "is", "in", "England"]
    output = "[ London | LOC] is in [England | LOC]"
    parsed = parse_brackets(output, sentence, LABELS)
    assert (parsed.spans, parsed.faithful) == ([Span(6, 7, "LOC")], True)
