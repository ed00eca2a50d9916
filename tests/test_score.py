"""Scores are probabilities under the decoder."""

import math

import pytest

from ner_edge.runtime.score import decide, entity_score


def test_a_decision_is_a_softmax_over_its_candidates() -> None:
    chosen, log_p = decide([1.0, 3.0, 2.0])
    total = sum(map(math.exp, (1.0, 3.0, 2.0)))
    assert chosen == 1
    assert math.exp(log_p) == pytest.approx(math.exp(3.0) / total)


@pytest.mark.parametrize("logits", [[math.nan, 1.0], [1.0, math.nan], [math.inf, 1.0]])
def test_logits_that_are_not_finite_show(logits: list[float]) -> None:
    assert not math.isfinite(decide(logits)[1])


def test_a_score_multiplies_its_decisions() -> None:
    assert entity_score([math.log(0.5), math.log(0.8)]) == pytest.approx(0.4)
