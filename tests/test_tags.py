"""Word tags: legal sequences only, the best of them, and spans there and back."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.spans import Span, spans_from_tags
from ner_edge.tags import best_path, spans_of, tag_set, tags_of

LABELS = ["LOC", "PER"]
TAGS = tag_set(LABELS)


def is_legal(tags, words):
    before = "O"
    for tag, word in zip(tags, words, strict=True):
        if tag[0] == "I" and before[1:] != tag[1:]:
            return False
        if tag != "O" and word == "|":
            return False
        before = tag
    return True


@st.composite
def sentences(draw):
    words = draw(st.lists(st.sampled_from(["Ada", "|", "x"]), min_size=1, max_size=5))
    seed = draw(st.integers(0, 2**32 - 1))
    scores = np.random.default_rng(seed).normal(0, 3, (len(words), len(TAGS)))
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    return words, scores.astype(np.float32)


@given(sentences())
def test_the_best_path_is_the_best_of_all_legal_ones(sentence):
    words, scores = sentence
    legal = [
        path
        for path in product(range(len(TAGS)), repeat=len(words))
        if is_legal([TAGS[tag] for tag in path], words)
    ]
    totals = [sum(scores[i, tag] for i, tag in enumerate(path)) for path in legal]
    found = best_path(scores, words)
    assert sum(scores[i, tag] for i, tag in enumerate(found)) == pytest.approx(max(totals))
    assert is_legal([TAGS[tag] for tag in found], words)


@given(sentences())
def test_spans_are_those_of_the_tags(sentence):
    words, scores = sentence
    path = best_path(scores, words)
    spans = spans_of(path, scores, LABELS)
    assert [Span(*span[:3]) for span in spans] == spans_from_tags([TAGS[tag] for tag in path])
    assert all(0 < span.score <= 1 for span in spans)
    assert tags_of([Span(*span[:3]) for span in spans], len(words), LABELS) == path.tolist()


def test_a_score_is_that_of_the_tags_and_of_the_end():
    scores = np.log(
        np.array(
            [[0.1, 0.7, 0.1, 0.05, 0.05], [0.1, 0.1, 0.6, 0.1, 0.1], [0.5, 0.1, 0.2, 0.1, 0.1]],
            np.float32,
        )
    )
    (span,) = spans_of(best_path(scores, ["a", "b", "c"]), scores, LABELS)
    assert span[:3] == (0, 2, "LOC")
    assert span.score == pytest.approx(0.7 * 0.6 * (1 - 0.2), rel=1e-5)
