"""Writers of the tag schemes that the product only reads."""

from collections.abc import Iterable, Sequence

from ner_edge.spans import Span, iob2_from_spans


def iob1_from_spans(spans: Iterable[Span], length: int) -> list[str]:
    """IOB1: `B-` only where an entity touches one of its own label."""
    tags = ["O"] * length
    previous_end, previous_label = -1, ""
    for start, end, label in sorted(spans):
        touches = start == previous_end and label == previous_label
        tags[start:end] = [f"I-{label}"] * (end - start)
        if touches:
            tags[start] = f"B-{label}"
        previous_end, previous_label = end, label
    return tags


def bioes_from_spans(spans: Sequence[Span], length: int) -> list[str]:
    """BIOES: an entity ends with `E-`, or is a single word `S-`."""
    tags = iob2_from_spans(spans, length)
    for start, end, label in spans:
        tags[end - 1] = f"S-{label}" if end - start == 1 else f"E-{label}"
    return tags
