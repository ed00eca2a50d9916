"""Entity spans over words, and their IOB tags, one per word."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ner_edge.errors import DataError


class Span(NamedTuple):
    """An entity: words `start` to `end` (half-open, 0-based) with their label."""

    start: int
    end: int
    label: str


class ScoredSpan(NamedTuple):
    """A predicted span; `score` is its probability under the decoder that found it, 0 to 1."""

    start: int
    end: int
    label: str
    score: float


def spans_from_tags(tags: Sequence[str]) -> list[Span]:
    """Read IOB1 or IOB2 tags by a rule that serves both.

    An entity begins at `B-`, after `O`, or where the label changes (Ramshaw and Marcus 1995; Tjong
    Kim Sang 2002). Raises `DataError` for a tag that is not `O`, `B-label` or `I-label`.
    """
    spans: list[Span] = []
    start, label = 0, ""  # an empty label means: outside
    for position, tag in enumerate(tags):
        prefix, _, tag_label = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I") or not tag_label):
            raise DataError(f"'{tag}' is not an IOB tag (O, B-LABEL or I-LABEL)")
        if label and (prefix != "I" or tag_label != label):
            spans.append(Span(start, position, label))
            label = ""
        if tag_label and not label:
            start, label = position, tag_label
    if label:
        spans.append(Span(start, len(tags), label))
    return spans


def iob2_from_spans(spans: Iterable[Span], length: int) -> list[str]:
    """Return one IOB2 tag per word: every entity begins with `B-`."""
    tags = ["O"] * length
    for start, end, label in spans:
        tags[start] = f"B-{label}"
        tags[start + 1 : end] = [f"I-{label}"] * (end - start - 1)
    return tags


def strict_f1(gold: Iterable[Iterable[Span]], predicted: Iterable[Iterable[Span]]) -> float:
    """Return the strict-match micro F1 in percent: both ends and the label must be right."""
    right = gold_count = predicted_count = 0
    for wanted, found in zip(gold, predicted, strict=True):
        wanted_set, found_set = set(wanted), set(found)
        right += len(wanted_set & found_set)
        gold_count += len(wanted_set)
        predicted_count += len(found_set)
    return 200 * right / (gold_count + predicted_count) if right else 0.0
