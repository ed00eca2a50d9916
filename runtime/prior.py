"""What the word head expects to be written next.

Reading and writing err in different places, so their decisions are combined (a product of experts,
Hinton 2002).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ner_edge.runtime.automaton import Move, State
from ner_edge.runtime.trie import Moves, Node
from ner_edge.tags import OUTSIDE

_WEIGHT = 0.8  # of the word head, which reads the sentence in its passage; the rest: of writing
_LEAST = 1e-9  # a probability, so that logarithms stay finite


class ReadingPrior:
    """The probabilities of the automaton's moves under the word head.

    `log_probabilities` are those of each word's tags, [words, tags], over the tag set of `labels`.
    """

    def __init__(self, log_probabilities: NDArray[np.float32], labels: Sequence[str]) -> None:
        tags = np.exp(log_probabilities.astype(np.float64)) + _LEAST
        self._outside, self._begins, self._goes_on = tags[:, OUTSIDE], tags[:, 1::2], tags[:, 2::2]
        self._labels = list(labels)
        # The total probability of the legal tags from each word on, outside of an entity and inside
        # one of each label (the backward algorithm), divided by the scales of all these words.
        words = len(tags)
        self._scale = np.ones(words + 1)
        self._from_outside = np.ones(words + 1)
        self._from_inside = np.ones((words + 1, len(labels)))
        for i in reversed(range(words)):
            inside = self._from_inside[i + 1]
            outside = self._outside[i] * self._from_outside[i + 1] + self._begins[i] @ inside
            further = outside + self._goes_on[i] * inside
            self._scale[i] = further.max()
            self._from_outside[i] = outside / self._scale[i]
            self._from_inside[i] = further / self._scale[i]

    def combined(self, logits: Sequence[float], state: State, node: Node) -> list[float]:
        """Return the weighted mean of the logits of the branches of `node`, a node of the trie of
        `state`, and of the logarithms of their probabilities here."""
        expected = [self._of_branch(state, branch) for branch in node.values()]
        return [
            (1 - _WEIGHT) * logit + _WEIGHT * math.log(max(p, _LEAST))
            for logit, p in zip(logits, expected, strict=True)
        ]

    def _of_branch(self, state: State, branch: Node | Moves) -> float:
        if isinstance(branch, dict):
            return sum(self._of_branch(state, further) for further in branch.values())
        p = 1.0
        for move in branch:
            p *= self.probability(state, move)
            state = move.target
        return p

    def probability(self, state: State, move: Move) -> float:
        """Return the probability of a legal move from `state`, given the moves that led there."""
        i, begin = state
        if begin is None:
            if move.target.begin is None:
                p = self._outside[i] * self._from_outside[i + 1]
            else:
                p = self._begins[i] @ self._from_inside[i + 1]
            return float(p / (self._scale[i] * self._from_outside[i]))
        logs = np.log(self._begins[begin]) + np.log(self._goes_on[begin + 1 : i]).sum(axis=0)
        labels = np.exp(logs - logs.max())
        if move.label is None:
            p = labels @ (self._goes_on[i] * self._from_inside[i + 1]) / self._scale[i]
        else:
            p = labels[self._labels.index(move.label)] * self._from_outside[i]
        return float(p / (labels @ self._from_inside[i]))
