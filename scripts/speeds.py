"""Speeds of methods that took turns, and their ratios."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

RATIOS = (
    ("auto", "copy"),
    ("auto", "stock"),
    ("read", "copy"),
    ("auto alone", "copy alone"),
    ("auto", "reference"),
    ("read", "reference"),
    ("auto alone", "reference alone"),
    ("read", "bert int8"),
    ("auto", "bert int8"),
    ("read", "distilbert int8"),
    ("read", "bert float32"),
)
"""The pairs of methods whose speeds are compared."""


class Turn(NamedTuple):
    """What one method did in one round."""

    sentences: int
    seconds: float


def total_speed(turns: Sequence[Turn]) -> float:
    """Return the sentences per second of all turns together.

    Sentences in flight and batches that are read ahead belong to no single turn.
    """
    return sum(turn.sentences for turn in turns) / sum(turn.seconds for turn in turns)


def speed_ratios(speeds: Mapping[str, float]) -> dict[str, float]:
    """Return the ratios of the methods that were measured, as `auto_alone_over_copy_alone`."""
    return {
        f"{fast}_over_{slow}".replace(" ", "_"): speeds[fast] / speeds[slow]
        for fast, slow in RATIOS
        if fast in speeds and slow in speeds
    }
