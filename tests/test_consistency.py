"""The labels of words and entities are drawn towards those elsewhere in their document."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.consistency import consistent

LABELS = 3
WORD = st.sampled_from(["Paris", "PARIS", "paris", "of", "Straße", "STRASSE", ".", "Rome"])
DOCUMENT = st.lists(st.lists(WORD, min_size=1, max_size=5), min_size=1, max_size=6)


def tags(document, seed):
    """Random log-probabilities, some of them extreme."""
    source = np.random.default_rng(seed)
    rows = [source.normal(0, 30, (len(words), 1 + 2 * LABELS)) for words in document]
    return [
        (row - np.logaddexp.reduce(row, axis=1, keepdims=True)).astype(np.float32) for row in rows
    ]


@given(DOCUMENT, st.integers(0, 1000))
def test_only_the_labels_of_repeated_words_change(document, seed):
    before = tags(document, seed)
    after = consistent(document, before)
    everywhere = [word.casefold() for words in document for word in words]
    for words, rows, changed in zip(document, before, after, strict=True):
        assert changed.dtype == np.float32
        assert rows.shape == changed.shape
        p, q = np.exp(rows.astype(float)), np.exp(changed.astype(float))
        np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(q[:, 0], p[:, 0], atol=1e-5)
        for i, word in enumerate(words):
            if everywhere.count(word.casefold()) == 1:
                assert (rows[i] == changed[i]).all()
        begins, goes_on = rows[:, 1::2] - rows[:, 2::2], changed[:, 1::2] - changed[:, 2::2]
        np.testing.assert_allclose(begins, goes_on, atol=1e-3, rtol=1e-5)


@given(DOCUMENT, st.integers(0, 1000), st.randoms())
def test_the_order_of_the_sentences_does_not_matter(document, seed, source):
    before = tags(document, seed)
    order = list(range(len(document)))
    source.shuffle(order)
    after = consistent(document, before)
    moved = consistent([document[i] for i in order], [before[i] for i in order])
    for i, rows in zip(order, moved, strict=True):
        np.testing.assert_allclose(rows, after[i], atol=1e-4)


def test_an_entity_s_other_words_count_in_the_entity_only():
    """A city in one place of two, and a company of the same words, twice."""
    here, elsewhere = [0.0, 0.6, 0.0, 0.4, 0.0], [0.0, 0.2, 0.0, 0.8, 0.0]
    outside = [1.0, 0.0, 0.0, 0.0, 0.0]

    def inside(row):
        return [row[0], row[2], row[1], row[4], row[3]]

    document = [["Air", "Oslo"], ["Air", "Oslo"], ["Oslo", "is", "old"]]
    rows = [[here, inside(here)], [elsewhere, inside(elsewhere)], [here, outside, outside]]
    before = [np.log(np.array(row, np.float32) + 1e-12) for row in rows]
    first, second, third = (np.exp(row) for row in consistent(document, before))
    of_company = np.concatenate([first, second])[:, :3].sum(axis=1)
    assert of_company.max() < 0.5
    assert np.ptp(of_company) < 0.1
    assert third[0, :3].sum() == pytest.approx(1 / (1 + (0.4 / 0.6) ** 0.4 * (1.6 / 1.4) ** 0.6))


def test_a_certain_label_decides_a_doubtful_one():
    document = [["PARIS"], ["Paris", "won", "."], ["Paris"]]
    of_word = {"certain": [0.02, 0.97, 0.0, 0.01, 0.0], "doubtful": [0.1, 0.4, 0.0, 0.5, 0.0]}
    other = [1.0, 0.0, 0.0, 0.0, 0.0]
    rows = [[of_word["certain"]], [of_word["doubtful"], other, other], [of_word["certain"]]]
    before = [np.log(np.array(row, np.float32) + 1e-12) for row in rows]
    after = [np.exp(row) for row in consistent(document, before)]
    # In the document, the labels have 2.34 and 0.52; the shares are weighted geometric means.
    doubtful, certain = ((here**0.4) * (2.34 / 0.52) ** 0.6 for here in (0.4 / 0.5, 0.97 / 0.01))
    share = (doubtful / (1 + doubtful) + 2 * certain / (1 + certain)) / 3
    odds = doubtful**0.3 * (share / (1 - share)) ** 0.7
    expected = [0.1, 0.9 * odds / (1 + odds), 0.0, 0.9 / (1 + odds), 0.0]
    assert after[1][0] == pytest.approx(expected, abs=1e-5)
    assert after[1][1] == pytest.approx(other, abs=1e-6)
