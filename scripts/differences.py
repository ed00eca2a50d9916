"""The sentences in which two taggers find other entities, and how far their scores differ."""

import math
import sys
from collections.abc import Sequence

import numpy as np

from ner_edge.brackets import write_brackets
from ner_edge.spans import ScoredSpan, Span

QUANTILES = {"median": 0.5, "99 %": 0.99, "largest": 1.0}
Words = Sequence[str]
Scored = dict[Span, float]


def with_scores(spans: Sequence[ScoredSpan]) -> Scored:
    return {Span(*span[:3]): span.score for span in spans}


def log_odds(p: float) -> float:
    return math.log(p) - math.log(max(1 - p, 1e-12))


def moves(scored: Scored, reference: Scored) -> list[float]:
    """Return how far the log-odds of each entity that both found moved, in nats."""
    common = scored.keys() & reference.keys()
    return [abs(log_odds(scored[span]) - log_odds(reference[span])) for span in common]


def quantiles_of(moved: Sequence[float]) -> dict[str, float] | None:
    """Return the `QUANTILES` of `moved`; None if nothing moved."""
    if not moved:
        return None
    return dict(zip(QUANTILES, np.quantile(moved, list(QUANTILES.values())).tolist(), strict=True))


def print_difference(number: int, words: Words, found: dict[str, Scored]) -> None:
    """Print what each of several taggers, by name, found in a sentence, to standard error."""
    print(f"sentence {number + 1}", file=sys.stderr)
    for name, spans in found.items():
        scores = ", ".join(f"{score:.3f}" for score in spans.values())
        print(f"  {name}: {write_brackets(words, list(spans))}  ({scores})", file=sys.stderr)
