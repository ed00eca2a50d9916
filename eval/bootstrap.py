"""Is a difference in F1 more than chance? A paired bootstrap; and how many sentences changed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ner_edge.spans import Span

# Resamples drawn at once: bounds the weights' memory (block × sentences × 8 bytes).
_BLOCK = 250


def strict_counts(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]
) -> NDArray[np.int64]:
    """True positives, false positives and false negatives per sentence; shape (sentences, 3)."""
    rows = []
    for gold_spans, predicted_spans in zip(gold, predicted, strict=True):
        expected, found = set(gold_spans), set(predicted_spans)
        hits = len(expected & found)
        rows.append((hits, len(found) - hits, len(expected) - hits))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def delta_f1_interval(
    counts: NDArray[np.int64],
    baseline: NDArray[np.int64],
    *,
    resamples: int = 2000,
    seed: int = 2003,
) -> tuple[float, float]:
    """The 95 % interval of F1(counts) - F1(baseline), in percentage points.

    Both arrays are `strict_counts` of the same sentences in the same order. Sentences are drawn
    with replacement, the same draw for both systems, and the interval is the 2.5th to 97.5th
    percentile of the differences (Koehn 2004; Berg-Kirkpatrick et al. 2012).
    """
    sentences = len(counts)
    if len(baseline) != sentences or not sentences:
        raise ValueError(f"{sentences} and {len(baseline)} sentences cannot be paired")
    generator = np.random.default_rng(seed)
    share = np.full(sentences, 1 / sentences)
    deltas = []
    for first in range(0, resamples, _BLOCK):
        block = min(_BLOCK, resamples - first)
        # How often each sentence is drawn; sums of counts are then one matrix product.
        weights = generator.multinomial(sentences, share, size=block).astype(np.float64)
        deltas.append(_f1(weights @ counts) - _f1(weights @ baseline))
    low, high = np.quantile(np.concatenate(deltas), (0.025, 0.975))
    return float(low), float(high)


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 in percent from rows of (tp, fp, fn); 0 where there is no entity at all."""
    hits, false_positives, false_negatives = sums.T
    f1: NDArray[np.float64] = (
        200 * hits / np.maximum(2 * hits + false_positives + false_negatives, 1)
    )
    return f1


def flips(a: Sequence[Sequence[Span]], b: Sequence[Sequence[Span]]) -> int:
    """In how many sentences the entities differ, be it to the better, the worse or neither."""
    return sum(set(x) != set(y) for x, y in zip(a, b, strict=True))
