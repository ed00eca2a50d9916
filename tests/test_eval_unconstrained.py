"""Unconstrained outputs are kept whole without the text they copy, and their faults counted."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.eval.unconstrained import judge_outputs, pack_output, unpack_output
from ner_edge.spans import Span

LABELS = ["PER", "LOC"]
ADA = Sentence(["Ada", "met", "Kim", "in", "Rome"], [Span(0, 1, "PER"), Span(4, 5, "LOC")])

words = st.lists(
    st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=6), max_size=8
).map(lambda chunks: [part for chunk in chunks for part in chunk.split()])


def judged(*answers: str) -> tuple[float, int, int, int]:
    sentences = [ADA] * len(answers)
    outputs = [pack_output(answer, ADA.words) for answer in answers]
    faults = judge_outputs(sentences, outputs, LABELS)
    return (faults.lenient.f1, faults.verbatim, faults.malformed, faults.misaligned)


@given(words, st.data())
def test_an_answer_comes_back_as_it_was(sentence: list[str], data: st.DataObject) -> None:
    chunk = st.sampled_from(
        ["|", "PER]", "[", "[new", "word", *sentence, *("[" + w for w in sentence)]
    )
    chunks = data.draw(st.lists(chunk))
    packed = pack_output(" ".join(chunks), sentence)
    assert unpack_output(packed, sentence).split() == chunks


def test_what_is_copied_is_not_kept() -> None:
    answer = write_brackets(ADA.words, ADA.spans).replace("Kim", "Kym")
    assert pack_output(answer, ADA.words) == [-1, "|", "PER]", 1, "Kym", 3, -5, "|", "LOC]"]


def test_a_right_answer_has_no_fault() -> None:
    assert judged("[Ada | PER] met Kim in [Rome | LOC]") == (100, 1, 0, 0)


def test_an_unchanged_sentence_is_matched_by_place() -> None:
    """Ada and Rome swap their labels: the right labels and the right texts, but not together."""
    assert judged("[Ada | LOC] met Kim in [Rome | PER]") == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("answer", "f1"),
    [
        pytest.param("Yes : [Ada | PER] met Kim in [Rome | LOC]", 100, id="moved"),
        pytest.param("[Rome | LOC] [Ada | PER]", 100, id="in another order"),
        pytest.param("[Ada | PER] [Ada | PER] [Rome | LOC]", 80, id="twice counts once"),
        pytest.param("[Adda | PER] met Kim in [Rome | LOC]", 50, id="another text"),
        pytest.param("", 0, id="nothing"),
    ],
)
def test_a_changed_sentence_is_matched_by_label_and_text(answer: str, f1: float) -> None:
    assert judged(answer) == pytest.approx((f1, 0, 0, 1))


def test_a_malformed_answer_may_be_verbatim() -> None:
    assert judged("[Ada | PER] met Kim in [Rome") == pytest.approx((200 / 3, 1, 1, 1))
    assert judged("[Ada | POET] met Kim") == (0, 0, 1, 1)


def test_counts_add_up_over_sentences() -> None:
    right, cut = "[Ada | PER] met Kim in [Rome | LOC]", "[Ada | PER] met Kim"
    assert judged(right, cut, right)[1:] == (2, 0, 1)
    assert judged(right, cut, right)[0] == pytest.approx(200 * 5 / (6 + 5))


def test_no_entities_score_zero() -> None:
    empty = Sentence(["Rain"], [])
    faults = judge_outputs([empty], [[0]], LABELS)
    assert astuple(faults) == ((0, 0, 0, 0), 1, 0, 0)
