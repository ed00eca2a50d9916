"""The word head: linear layers that tag the words of a sentence while a model reads it.

They need a model that was trained to read both ways: the tokens of a sentence attend to one another
in both directions. `runtime/reader.py` reads so in llama.cpp, `train/word_head.py` trains the head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_edge.spans import ScoredSpan
from ner_edge.tags import best_path, spans_of


class Linear(NamedTuple):
    """A layer from hidden states to tags: `weight` [tags, width] and `bias` [tags]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class Reading(NamedTuple):
    """What was found while reading a sentence."""

    spans: list[ScoredSpan]
    words: list[float]
    """The probability of each word's tag."""
    log_probabilities: NDArray[np.float32]
    """Those of all tags, [words, tags]."""

    def ends(self, threshold: float) -> set[int] | None:
        """Return the positions, outside of entities, after the last word in doubt, whose tag is at
        most as probable as `threshold`; None if no word is."""
        doubtful = [number for number, p in enumerate(self.words) if p <= threshold]
        if not doubtful:
            return None
        inside = {i for span in self.spans for i in range(span.start + 1, span.end)}
        return set(range(doubtful[-1] + 1, len(self.words) + 1)) - inside


@dataclass(frozen=True)
class WordHead:
    """A word head over the tag set of `labels`, with a layer for each of several depths.

    A depth is a number of transformer layers; the greatest is that of the whole model. States after
    the last layer are those of the model's final norm; earlier ones are divided by their root mean
    square.
    """

    labels: tuple[str, ...]
    layers: dict[int, Linear]
    epsilon: float = 1e-5
    """Added to the mean square, as in the model's own norms."""
    passage: int = 0
    """The most words of the passages that the model was trained to read; 0: it reads each sentence
    alone."""

    @property
    def last(self) -> int:
        """The greatest depth."""
        return max(self.layers)

    def log_probabilities(self, states: NDArray[np.float32], depth: int) -> NDArray[np.float32]:
        """Return those of each word's tags, [words, tags], given the hidden states of the words'
        last tokens, [words, width]."""
        if depth != self.last:
            squares = np.square(states).mean(axis=1, keepdims=True)
            states = states / np.sqrt(squares + self.epsilon)
        weight, bias = self.layers[depth]
        logits = states @ weight.T + bias
        logits -= logits.max(axis=1, keepdims=True)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), np.float32)

    def tag(self, words: Sequence[str], log_probabilities: NDArray[np.float32]) -> Reading:
        """Tag a sentence, given those of each word's tags, [words, tags]."""
        path = best_path(log_probabilities, words)
        chosen = np.exp(log_probabilities[np.arange(len(path)), path])
        spans = spans_of(path, log_probabilities, self.labels)
        return Reading(spans, chosen.tolist(), log_probabilities)
