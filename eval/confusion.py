"""Confusion matrix of labels, for entities with equal and with overlapping boundaries."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ner_edge.spans import Span

NONE = "none"


@dataclass(frozen=True)
class Confusion:
    """Counts of (gold label, predicted label); `NONE` stands for a missing partner."""

    labels: list[str]
    exact: Counter[tuple[str, str]]
    """Pairs with the same boundaries, and entities without a partner."""
    shifted: Counter[tuple[str, str]]
    """Pairs that overlap but have different boundaries."""


def confusion(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]]) -> Confusion:
    """Pair each gold entity with the predicted one of the same words, otherwise with the one that
    shares the most words."""
    exact: Counter[tuple[str, str]] = Counter()
    shifted: Counter[tuple[str, str]] = Counter()
    for expected, found in zip(gold, predicted, strict=True):
        overlaps = [(_shared_words(a, b), a, b) for a in expected for b in found]
        left, right = set(expected), set(found)
        # Equal boundaries come first, then the longest overlap.
        for shared, a, b in sorted(overlaps, key=lambda o: (o[1][:2] != o[2][:2], -o[0])):
            if shared and a in left and b in right:
                left.remove(a)
                right.remove(b)
                (exact if a[:2] == b[:2] else shifted)[a.label, b.label] += 1
        exact.update((span.label, NONE) for span in left)
        exact.update((NONE, span.label) for span in right)
    labels = sorted({label for pair in (*exact, *shifted) for label in pair} - {NONE})
    return Confusion([*labels, NONE], exact, shifted)


def _shared_words(a: Span, b: Span) -> int:
    return max(0, min(a.end, b.end) - max(a.start, b.start))
