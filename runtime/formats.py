"""The output formats of `ner-edge tag`. To add a format, add a row to `FORMATS`."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import tee
from typing import TYPE_CHECKING, Any

from ner_edge.segment import segment
from ner_edge.spans import Span, iob2_from_spans

if TYPE_CHECKING:
    from ner_edge.runtime.tagger import Entity, GGUFTagger

Format = Callable[[str, Sequence["Entity"]], Iterator[str]]
"""A text and its entities → the pieces to print, each without its last newline."""


def tag_and_format(format: Format, tagger: "GGUFTagger", texts: Iterable[str]) -> Iterator[str]:
    """Yield the pieces to print of all texts, in order."""
    ahead, behind = tee(texts)
    for text, entities in zip(behind, tagger.pipe(ahead), strict=True):
        yield from format(text, entities)


def as_brackets(text: str, entities: Sequence["Entity"]) -> Iterator[str]:
    """Yield the text, unchanged except that its entities are in brackets: `[text | label]`."""
    pieces = []
    position = 0
    for entity in entities:
        pieces.append(f"{text[position : entity.start]}[{entity.text} | {entity.label}]")
        position = entity.end
    yield "".join(pieces) + text[position:]


def as_jsonl(text: str, entities: Sequence["Entity"]) -> Iterator[str]:
    """Yield an object with the `text` and its `entities`."""
    yield json.dumps({"text": text, "entities": entity_objects(entities)}, ensure_ascii=False)


def entity_objects(entities: Sequence["Entity"]) -> list[dict[str, Any]]:
    """Return each entity as `start` and `end` (code points, half-open), `text`, `label`, `score`.

    Scores have six decimals.
    """
    return [asdict(entity) | {"score": round(entity.score, 6)} for entity in entities]


def as_conll(text: str, entities: Sequence["Entity"]) -> Iterator[str]:
    """Yield each sentence: a word and its IOB2 tag per line, then a blank line."""
    remaining = list(reversed(entities))
    for words in segment(text):
        first_at = {word.start: number for number, word in enumerate(words)}
        end_at = {word.end: number + 1 for number, word in enumerate(words)}
        spans = []
        while remaining and remaining[-1].start in first_at:
            entity = remaining.pop()
            spans.append(Span(first_at[entity.start], end_at[entity.end], entity.label))
        tags = iob2_from_spans(spans, len(words))
        yield "".join(f"{word.text} {tag}\n" for word, tag in zip(words, tags, strict=True))


FORMATS: dict[str, Format] = {"brackets": as_brackets, "jsonl": as_jsonl, "conll": as_conll}
"""By the name that `--format` takes; the first is the default."""
