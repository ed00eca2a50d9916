"""Calibration of entity scores: of those with a score of 0.9, nine in ten should be right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ner_edge.spans import ScoredSpan, Span

_BINS = 15
_STEPS = 50  # of a bisection
_RANGE = (0.05, 20.0)  # of 1 / temperature


@dataclass(frozen=True)
class Bin:
    """The predicted entities with scores in (low, high]: their number, mean score and precision (0
    to 1)."""

    low: float
    high: float
    count: int
    confidence: float
    precision: float


@dataclass(frozen=True)
class Calibration:
    """The difference between scores and precision, overall and in each non-empty bin."""

    expected_error: float
    """Expected calibration error in percentage points (Naeini et al. 2015; 15 bins of equal width
    as in Guo et al. 2017)."""
    bins: list[Bin]
    temperature: float
    """The divisor of the scores' log-odds under which the right and wrong predictions are most
    likely (Guo et al. 2017); above 1 for overconfident scores."""


def calibration(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[ScoredSpan]]
) -> Calibration:
    """Compare the scores of predicted entities with their strict precision."""
    scores, right = [], []
    for expected, found in zip(gold, predicted, strict=True):
        known = set(expected)
        scores += [span.score for span in found]
        right += [Span(*span[:3]) in known for span in found]
    edges = np.linspace(0, 1, _BINS + 1)
    score, hit = np.array(scores), np.array(right, dtype=float)
    index = np.clip(np.searchsorted(edges, score) - 1, 0, _BINS - 1)
    bins = []
    for i in np.unique(index):
        inside = index == i
        confidence, precision = float(score[inside].mean()), float(hit[inside].mean())
        bins.append(
            Bin(float(edges[i]), float(edges[i + 1]), int(inside.sum()), confidence, precision)
        )
    total = max(1, len(scores))
    error = 100 * sum(b.count * abs(b.confidence - b.precision) for b in bins) / total
    return Calibration(error, bins, best_temperature(score, hit))


def best_temperature(scores: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Return the temperature of maximum likelihood, given scores and whether each was right (0 or
    1); 1 if all of them or none were right."""
    if not 0 < right.sum() < len(right):
        return 1.0
    clipped = np.clip(scores, 1e-12, 1 - 1e-12)
    odds = np.log(clipped / (1 - clipped))
    low, high = _RANGE
    for _ in range(_STEPS):  # the likelihood is concave in 1 / temperature
        middle = (low + high) / 2
        slope = float(odds @ (right - 1 / (1 + np.exp(-middle * odds))))
        low, high = (middle, high) if slope > 0 else (low, middle)
    return 2 / (low + high)
