"""Tag schemes: which one a file uses, where its tags break the rules, and how to write each."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from ner_edge.data.corpus import shortened
from ner_edge.spans import Span, iob2_from_spans

_IOB = re.compile(r"O|[BI]-.+")
_BIOES = re.compile(r"O|[BIESLU]-.+")  # L (last) and U (unit) are other names for E and S
_ENDS_OR_SINGLES = re.compile(r"[ESLU]-.+")


def is_bioes(tags: Iterable[str]) -> bool:
    """Whether any tag marks an end or a single word, as only BIOES (BILOU) does."""
    return any(_ENDS_OR_SINGLES.fullmatch(tag) for tag in tags)


def spelt_like_a_tag(text: str) -> bool:
    """Whether `text` is a tag of any scheme."""
    return bool(_BIOES.fullmatch(text))


def misspelt(tag: str, bioes: bool) -> str | None:
    """Return what is wrong with the spelling of a tag; None if nothing is."""
    if (_BIOES if bioes else _IOB).fullmatch(tag):
        return None
    if bioes:
        return f"{shortened(tag)} is not a BIOES tag (O, or B-, I-, E- or S-LABEL)"
    return f"{shortened(tag)} is not an IOB tag (O, B-LABEL or I-LABEL)"


def read_bioes(tags: Sequence[str]) -> tuple[list[Span], list[tuple[int, str]]]:
    """Read the correctly spelt tags of a sentence.

    Returns the entities, and the violations of the scheme as (position, message). An entity that
    violates it is left out.
    """
    spans, wrong = [], []
    start, label = 0, ""  # an empty label means: outside
    for position, tag in enumerate([*tags, ""]):
        prefix, _, tag_label = tag.partition("-")
        goes_on = prefix in ("I", "E", "L")
        if label and not (goes_on and tag_label == label):
            then = f"followed by {shortened(tag)}" if tag else "the last of its sentence"
            message = (
                f"{shortened(tags[position - 1])} is {then}: I-{label} or E-{label} must follow"
            )
            wrong.append((position - 1, message))
            label = ""
        elif goes_on and not label:
            wrong.append((position, f"{shortened(tag)} continues an entity that did not begin"))
        if prefix == "B":
            start, label = position, tag_label
        elif prefix in ("S", "U"):
            spans.append(Span(position, position + 1, tag_label))
        elif prefix in ("E", "L") and label:
            spans.append(Span(start, position + 1, label))
            label = ""
    return spans, wrong


def free_begins(tags: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the beginnings of IOB entities where IOB1 writes `I` and IOB2 writes `B`.

    Those are the ones that do not touch another entity of their label, as (position, prefix).
    """
    previous = ""
    for position, tag in enumerate(tags):
        prefix, _, label = tag.partition("-")
        if label and label != previous:
            yield position, prefix
        previous = label


def iob1_from_spans(spans: Iterable[Span], length: int) -> list[str]:
    """Return one IOB1 tag per word: `B-` only where an entity touches one of its own label."""
    tags = ["O"] * length
    previous_end, previous_label = -1, ""
    for start, end, label in sorted(spans):
        touches = start == previous_end and label == previous_label
        tags[start:end] = [f"I-{label}"] * (end - start)
        if touches:
            tags[start] = f"B-{label}"
        previous_end, previous_label = end, label
    return tags


def iobes_from_spans(spans: Iterable[Span], length: int) -> list[str]:
    """Return one IOBES tag per word: an entity ends with `E-`, or is a single word `S-`."""
    return _with_ends(spans, length, "E", "S")


def bioul_from_spans(spans: Iterable[Span], length: int) -> list[str]:
    """Return one BIOUL tag per word: an entity ends with `L-`, or is a single word `U-`."""
    return _with_ends(spans, length, "L", "U")


def _with_ends(spans: Iterable[Span], length: int, last: str, single: str) -> list[str]:
    spans = list(spans)
    tags = iob2_from_spans(spans, length)
    for start, end, label in spans:
        tags[end - 1] = f"{single if end - start == 1 else last}-{label}"
    return tags


SCHEMES: dict[str, Callable[[Iterable[Span], int], list[str]]] = {
    "iob2": iob2_from_spans,
    "iob1": iob1_from_spans,
    "iobes": iobes_from_spans,
    "bioul": bioul_from_spans,
}
"""Writers of tags by the name that `--scheme` takes; the first is the default."""
