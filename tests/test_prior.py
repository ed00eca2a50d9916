"""The word head's prior is that of all legal tag sequences, moved through by the automaton."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ner_edge.runtime.automaton import START, CopyAutomaton, Move, State
from ner_edge.runtime.prior import ReadingPrior
from ner_edge.spans import Span
from ner_edge.tags import tags_of

LABELS = ["ORG", "LOC"]
TAGS = 1 + 2 * len(LABELS)

scores = st.integers(1, 4).flatmap(
    lambda words: arrays(np.float64, (words, TAGS), elements=st.floats(-6, 0))
)


def log_softmax(values: NDArray[np.float64]) -> NDArray[np.float32]:
    log_p: NDArray[np.float64] = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return log_p.astype(np.float32)


def answers(automaton: CopyAutomaton) -> Iterator[list[tuple[State, Move]]]:
    """All ways through the automaton."""

    def ways(state: State) -> Iterator[list[tuple[State, Move]]]:
        if state == automaton.end:
            yield []
        for move in automaton.moves(state):
            for rest in ways(move.target):
                yield [(state, move), *rest]

    return ways(START)


def tags(way: list[tuple[State, Move]], words: int) -> list[int]:
    spans = [Span(state.begin, state.position, m.label) for state, m in way if m.label is not None]
    return tags_of(spans, words, LABELS)


@given(scores)
def test_an_answer_is_as_probable_as_its_tags_among_the_legal_ones(
    values: NDArray[np.float64],
) -> None:
    log_p = log_softmax(values)
    words = len(log_p)
    prior = ReadingPrior(log_p, LABELS)
    ways = list(answers(CopyAutomaton(["a"] * words, LABELS)))
    of_tags = [np.exp(log_p[range(words), tags(way, words)].sum()) for way in ways]
    found = [np.prod([prior.probability(*step) for step in way]) for way in ways]
    assert found == pytest.approx(np.array(of_tags) / sum(of_tags), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("tag", range(TAGS))
def test_a_long_sentence_with_one_sure_tag_has_finite_probabilities(tag: int) -> None:
    log_p = np.full((400, TAGS), -300, np.float32)
    log_p[:, tag] = 0
    prior = ReadingPrior(log_p, LABELS)
    automaton = CopyAutomaton(["a"] * len(log_p), LABELS)
    inside = [State(position, 0) for position in range(1, 401)]
    for state in [*(State(position, None) for position in range(400)), *inside]:
        moves = automaton.moves(state)
        assert sum(prior.probability(state, move) for move in moves) == pytest.approx(1)
