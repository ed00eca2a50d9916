"""Paired bootstrap of the difference in F1, verdicts on it, and flips."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ner_edge.spans import Span

_BLOCK = 250  # resamples drawn at once, to bound memory (block × sentences × 8 bytes)

EQUIVALENT = 0.5
"""Differences in F1 within ± this many percentage points count as none."""

Verdict = Literal["equivalent", "worse", "better", "undecided"]


def strict_counts(
    gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]
) -> NDArray[np.int64]:
    """Return true positives, false positives and false negatives, [sentences, 3]."""
    rows = []
    for gold_spans, predicted_spans in zip(gold, predicted, strict=True):
        expected, found = set(gold_spans), set(predicted_spans)
        hits = len(expected & found)
        rows.append((hits, len(found) - hits, len(expected) - hits))
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def delta_f1_resamples(
    counts: NDArray[np.int64],
    baseline: NDArray[np.int64],
    *,
    resamples: int = 2000,
    seed: int = 2003,
) -> NDArray[np.float64]:
    """Return resampled values of F1(counts) - F1(baseline), in percentage points, [resamples].

    Both arrays are `strict_counts` of the same sentences in the same order. Each resample draws
    sentences with replacement, the same ones for both systems (Koehn 2004; Berg-Kirkpatrick et al.
    2012).
    """
    sentences = len(counts)
    if len(baseline) != sentences or not sentences:
        raise ValueError(f"{sentences} and {len(baseline)} sentences cannot be paired")
    generator = np.random.default_rng(seed)
    share = np.full(sentences, 1 / sentences)
    deltas = []
    for first in range(0, resamples, _BLOCK):
        block = min(_BLOCK, resamples - first)
        # The number of times each sentence is drawn; a matrix product then sums the counts.
        weights = generator.multinomial(sentences, share, size=block).astype(np.float64)
        deltas.append(_f1(weights @ counts) - _f1(weights @ baseline))
    return np.concatenate(deltas)


def interval(deltas: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled differences."""
    low, high = np.quantile(deltas, (0.025, 0.975))
    return float(low), float(high)


def verdicts(deltas: Mapping[str, NDArray[np.float64]]) -> dict[str, Verdict]:
    """Return a verdict on each system's resampled differences, at the 5 % level.

    A system is `equivalent` if its difference lies within ±0.5 points (two one-sided tests), else
    `worse` or `better` if the difference is significant, else `undecided`. Each of the three tests
    is corrected for the number of systems (Holm 1979).
    """
    draws = {name: np.asarray(values) for name, values in deltas.items()}

    def significant(p_value: Callable[[NDArray[np.float64]], float]) -> set[str]:
        return _holm({name: p_value(values) for name, values in draws.items()})

    equivalent = significant(lambda d: max(_share(d <= -EQUIVALENT), _share(d >= EQUIVALENT)))
    worse = significant(lambda d: _share(d >= 0))
    better = significant(lambda d: _share(d <= 0))
    result: dict[str, Verdict] = {}
    for name in draws:
        result[name] = "undecided"
        if name in equivalent:
            result[name] = "equivalent"
        elif name in worse:
            result[name] = "worse"
        elif name in better:
            result[name] = "better"
    return result


def _share(against: NDArray[np.bool_]) -> float:
    """A bootstrap p-value; never zero, because the number of draws is finite."""
    return (int(against.sum()) + 1) / (len(against) + 1)


def _holm(p_values: Mapping[str, float], level: float = 0.05) -> set[str]:
    """The names of the rejected hypotheses."""
    rejected: set[str] = set()
    for name in sorted(p_values, key=lambda name: p_values[name]):
        if p_values[name] > level / (len(p_values) - len(rejected)):
            break
        rejected.add(name)
    return rejected


def _f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 in percent from rows of (tp, fp, fn); 0 for rows without entities."""
    hits, false_positives, false_negatives = sums.T
    f1: NDArray[np.float64] = (
        200 * hits / np.maximum(2 * hits + false_positives + false_negatives, 1)
    )
    return f1


def flips(a: Sequence[Sequence[Span]], b: Sequence[Sequence[Span]]) -> int:
    """Return the number of sentences whose entities differ, for better or worse."""
    return sum(set(x) != set(y) for x, y in zip(a, b, strict=True))
