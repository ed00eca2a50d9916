"""Calibration: the definition, by hand and at its limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.calibration import scaled
from ner_edge.eval.calibration import calibration
from ner_edge.spans import ScoredSpan, Span


def test_by_hand():
    gold = [[Span(0, 1, "PER")], [Span(0, 2, "LOC")]]
    found = [
        [ScoredSpan(0, 1, "PER", 0.95), ScoredSpan(2, 3, "PER", 0.99)],  # right, wrong
        [ScoredSpan(0, 1, "LOC", 0.55), ScoredSpan(0, 2, "LOC", 0.15)],  # wrong (boundary), right
    ]
    result = calibration(gold, found)
    assert [b.count for b in result.bins] == [1, 1, 2]
    assert [b.precision for b in result.bins] == [1, 0, 0.5]
    assert result.bins[2].confidence == pytest.approx(0.97)
    assert result.expected_error == pytest.approx(100 * (0.85 + 0.55 + 2 * 0.47) / 4)


def test_scores_that_tell_the_truth_have_no_error():
    random = np.random.default_rng(0)
    scores = random.uniform(size=40_000)
    gold = [[Span(0, 1, "A")] if random.uniform() < s else [] for s in scores]
    found = [[ScoredSpan(0, 1, "A", s)] for s in scores]
    assert calibration(gold, found).expected_error < 2
    boastful = [[ScoredSpan(0, 1, "A", 1.0)] for _ in scores]
    assert calibration(gold, boastful).expected_error == pytest.approx(50, abs=1)


def test_nothing_found_and_the_ends_of_the_scale():
    assert calibration([[]], [[]]).expected_error == 0
    ends = calibration([[], []], [[ScoredSpan(0, 1, "A", 0.0)], [ScoredSpan(0, 1, "A", 1.0)]])
    assert [(b.low, b.high) for b in ends.bins] == [(0, 1 / 15), (14 / 15, 1)]


def test_the_temperature_undoes_what_made_the_scores_too_high():
    random = np.random.default_rng(1)
    honest = random.uniform(size=40_000)
    gold = [[Span(0, 1, "A")] if random.uniform() < s else [] for s in honest]
    odds = 1.6 * np.log(honest / (1 - honest))
    found = [[ScoredSpan(0, 1, "A", 1 / (1 + np.exp(-o)))] for o in odds]
    before = calibration(gold, found)
    assert before.temperature == pytest.approx(1.6, rel=0.03)
    cooled = [[s._replace(score=scaled(s.score, before.temperature)) for s in row] for row in found]
    after = calibration(gold, cooled)
    assert after.temperature == pytest.approx(1, abs=1e-6)
    assert after.expected_error < 1.5 < before.expected_error


def test_without_wrongs_or_without_rights_there_is_nothing_to_fit():
    found = [[ScoredSpan(0, 1, "A", 0.6), ScoredSpan(1, 2, "A", 0.9)]]
    assert calibration([[]], found).temperature == 1
    assert calibration([[Span(0, 1, "A"), Span(1, 2, "A")]], found).temperature == 1
    assert calibration([[]], [[]]).temperature == 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 10))
def test_scaling_keeps_the_order_of_scores(a, b, temperature):
    low, high = scaled(min(a, b), temperature), scaled(max(a, b), temperature)
    assert 0 <= low <= 1
    assert low <= high + 1e-15
