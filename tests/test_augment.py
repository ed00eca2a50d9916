"""Changed copies of sentences stay well-formed, and are what their names say."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.data.corpus import Sentence
from ner_edge.spans import Span
from ner_edge.train.augment import (
    AUGMENTATIONS,
    Names,
    copies,
    lower_cased,
    misspelt,
    names_in,
    unpunctuated,
    upper_cased,
    with_other_names,
)

SENTENCE = Sentence(
    ["Yesterday", ",", "Ada", "Lovelace", "met", '"', "Kim", '"', "of", "Acme", "!", "."],
    [Span(2, 4, "PER"), Span(6, 7, "PER"), Span(9, 11, "ORG")],
)
words = st.lists(
    st.one_of(
        st.sampled_from([",", ".", "``", "--", "(", "'s", "$", "U.S.", "iPhone", "ǅ", "ŉ", "ß"]),
        st.text(
            st.characters(exclude_categories=["Z", "C"]).filter(lambda c: not c.isspace()),
            min_size=1,
        ),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    """Any words, with entities that do not overlap."""
    text = draw(words)
    ends = draw(st.lists(st.integers(0, len(text)), unique=True, max_size=6).map(sorted))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    return Sentence(text, [Span(a, b, draw(st.sampled_from(["PER", "LOC"]))) for a, b in pairs])


@given(st.lists(sentences(), min_size=1, max_size=4), st.sampled_from(sorted(AUGMENTATIONS)))
def test_copies_are_well_formed_and_keep_the_labels(data: list[Sentence], name: str) -> None:
    shares = dict.fromkeys(AUGMENTATIONS, 0.0) | {name: 1.0}
    made = list(copies(data, shares, names_in(data), random.Random(5)))
    assert made == list(copies(data, shares, names_in(data), random.Random(5)))
    for i, how, copy in made:
        original = data[i]
        assert how == name
        assert copy.words, "not empty"
        assert all(word and word.split() == [word] for word in copy.words)
        assert [span.label for span in copy.spans] == [span.label for span in original.spans]
        end = 0
        for span in copy.spans:
            assert end <= span.start < span.end <= len(copy.words)
            end = span.end
        outside = [
            [word for i, word in enumerate(s.words) if not any(a <= i < b for a, b, _ in s.spans)]
            for s in (original, copy)
        ]
        if name == "swap_names":
            assert outside[0] == outside[1], "only entities change"
        if name != "swap_names":  # a name may be the same in upper case
            assert copy.words != original.words


def test_case() -> None:
    assert lower_cased(SENTENCE).text == 'yesterday , ada lovelace met " kim " of acme ! .'
    assert upper_cased(SENTENCE).text == 'YESTERDAY , ADA LOVELACE MET " KIM " OF ACME ! .'
    assert lower_cased(SENTENCE).spans == upper_cased(SENTENCE).spans == SENTENCE.spans


def test_punctuation_goes_and_spans_follow() -> None:
    plain = unpunctuated(SENTENCE)
    assert plain.text == "Yesterday Ada Lovelace met Kim of Acme"
    assert plain.spans == [Span(1, 3, "PER"), Span(4, 5, "PER"), Span(6, 7, "ORG")]
    kept = ["U.S.", "'s", "$", "%", "&", "3.5", "-1", "No."]
    assert unpunctuated(Sentence([*kept, "--", "(", "``", "...", "“"])).words == kept
    assert unpunctuated(Sentence(["!!!", "."], [Span(0, 1, "ORG")])).words == ["!!!"]


def test_a_sentence_of_punctuation_is_not_copied() -> None:
    shares = dict.fromkeys(AUGMENTATIONS, 1.0)
    assert list(copies([Sentence([".", "--"])], shares, {}, random.Random(0))) == []


@given(st.integers(0, 200))
def test_one_to_three_words_are_misspelt_by_one_letter(seed: int) -> None:
    noisy = misspelt(SENTENCE, random.Random(seed))
    assert (len(noisy.words), noisy.spans) == (len(SENTENCE.words), SENTENCE.spans)
    changed = [(a, b) for a, b in zip(SENTENCE.words, noisy.words, strict=True) if a != b]
    assert 1 <= len(changed) <= 3
    for before, after in changed:
        assert before.isalpha()
        assert abs(len(before) - len(after)) <= 1
        lost, won = Counter(before) - Counter(after), Counter(after) - Counter(before)
        assert lost.total() <= 1
        assert won.total() <= 2


def test_names_are_swapped_for_others_of_their_label() -> None:
    names: Names = {"PER": [("Ada", "Lovelace"), ("Zoe",)], "ORG": [("Acme", "!")]}
    other = with_other_names(SENTENCE, names, random.Random(0))
    assert other.text.startswith('Yesterday , Zoe met " ')
    assert other.text.endswith(' " of Acme ! .'), "no other name is known"
    assert other.words[other.spans[1].start] in ("Ada", "Zoe")
    loud = with_other_names(upper_cased(SENTENCE), names, random.Random(0))
    assert loud.text.isupper()


def test_a_share_of_the_cased_sentences_is_copied_in_lower_case() -> None:
    data = [Sentence([f"Zoe{i}", "left"], [Span(0, 1, "PER")]) for i in range(10)]
    data += [Sentence(["all", "lower"], [])] * 5
    shares = dict.fromkeys(AUGMENTATIONS, 0.0) | {"lowercase": 0.3}
    made = list(copies(data, shares, {}, random.Random(0)))
    assert len(made) == 3
    for i, _, copy in made:
        assert copy == Sentence([f"zoe{i}", "left"], data[i].spans)
    assert list(copies(data, dict.fromkeys(AUGMENTATIONS, 0.0), {}, random.Random(0))) == []


def test_earlier_runs_with_lower_case_can_be_repeated() -> None:
    data = [Sentence([word]) for word in ["A", "b", "C", "D", "e", "F", "G", "h", "I", "J", "K"]]
    shares = dict.fromkeys(AUGMENTATIONS, 0.0) | {"lowercase": 0.5}
    made = copies(data, shares, {}, random.Random(3))
    assert [copy.text for _, _, copy in made] == ["f", "g", "j", "c"]


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_has_a_setting_that_says_what_it_adds(name: str) -> None:
    from ner_edge.train.settings import resolve_settings

    assert getattr(resolve_settings("edge"), name) == 0
