"""The bracket notation: `[Hussain | PER] , considered surplus to [England | LOC] 's ...`."""

from collections.abc import Collection, Iterable, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from ner_edge.spans import Span


class Parsed(NamedTuple):
    """A model's output, read as entities of its source words."""

    spans: list[Span]
    well_formed: bool
    """Whether every bracket is closed with a known label."""
    faithful: bool
    """Whether it is well-formed and its words are exactly the source words."""
    output_words: list[str]
    """The words of the output itself, without its markup."""
    output_spans: list[Span]
    """The entities over `output_words`."""


def write_brackets(words: Sequence[str], spans: Iterable[Span]) -> str:
    """Write a sentence with its entities in brackets, its words joined by single spaces.

    `spans` must not overlap. The result has no newline at the end.
    """
    chunks = list(words)
    for start, end, label in spans:
        chunks[start] = "[" + chunks[start]
        chunks[end - 1] += f" | {label}]"
    return " ".join(chunks)


def parse_brackets(output: str, words: Sequence[str], labels: Collection[str]) -> Parsed:
    """Read a model's output, well-formed or not, as spans over the source `words`.

    Only the first line counts. A faithful output is read exactly, even if the words contain
    brackets and pipes. Any other is read leniently and aligned to the words; entities that cannot
    be aligned are dropped.
    """
    chunks = output.partition("\n")[0].split()
    spans = _parse_faithful(chunks, words, labels)
    if spans is not None:
        return Parsed(spans, True, True, list(words), spans)
    output_words, output_spans, well_formed = _parse_leniently(chunks, labels)
    aligned = _align(output_words, output_spans, words)
    return Parsed(aligned, well_formed, False, output_words, output_spans)


def _parse_faithful(
    chunks: Sequence[str], words: Sequence[str], labels: Collection[str]
) -> list[Span] | None:
    """Return the spans if `chunks` copy `words` in order, else None.

    This is never ambiguous: outside an entity a chunk is the next word, or `[` and that word;
    inside, a pipe always closes the entity.
    """
    spans: list[Span] = []
    begin: int | None = None
    position = 0
    remaining = iter(chunks)
    for chunk in remaining:
        if begin is not None and chunk == "|":
            closing = next(remaining, "")
            if not closing.endswith("]") or closing[:-1] not in labels:
                return None
            spans.append(Span(begin, position, closing[:-1]))
            begin = None
            continue
        if position == len(words):
            return None
        if chunk != words[position]:
            if begin is not None or chunk != "[" + words[position]:
                return None
            begin = position
        position += 1
    return spans if begin is None and position == len(words) else None


def _parse_leniently(
    chunks: Sequence[str], labels: Collection[str]
) -> tuple[list[str], list[Span], bool]:
    words: list[str] = []
    spans: list[Span] = []
    well_formed = True
    begin: int | None = None
    remaining = iter(chunks)
    for chunk in remaining:
        if begin is not None and chunk == "|":
            closing = next(remaining, "")
            if closing.endswith("]") and closing[:-1] in labels and begin < len(words):
                spans.append(Span(begin, len(words), closing[:-1]))
            else:
                well_formed = False
            begin = None
            continue
        if chunk.startswith("["):
            well_formed = well_formed and begin is None
            begin = len(words)
            chunk = chunk[1:]
        if chunk:
            words.append(chunk)
    return words, spans, well_formed and begin is None


def _align(
    output_words: Sequence[str], output_spans: Iterable[Span], words: Sequence[str]
) -> list[Span]:
    """Map spans of `output_words` to the source `words`.

    Equal words match. A block of changed words matches word by word if both sides are equally long.
    """
    source_of: dict[int, int] = {}
    matcher = SequenceMatcher(None, output_words, words, autojunk=False)
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        if kind == "equal" or (kind == "replace" and i2 - i1 == j2 - j1):
            source_of.update(zip(range(i1, i2), range(j1, j2), strict=True))
    spans = []
    for start, end, label in output_spans:
        sources = [source_of[i] for i in range(start, end) if i in source_of]
        if sources:
            spans.append(Span(sources[0], sources[-1] + 1, label))
    return spans
