"""The output formats of `ner-edge tag`. To add a format, add a row to `FORMATS`."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import tee
from typing import TYPE_CHECKING

from ner_edge.redaction.known_names import Place
from ner_edge.redaction.redact import Numbering, placeholders_in, places, redact
from ner_edge.segment import segment
from ner_edge.spans import Span, iob2_from_spans

if TYPE_CHECKING:
    from ner_edge.runtime.tagger import Entity, GGUFTagger

Format = Callable[["GGUFTagger", Iterable[str]], Iterator[str]]
"""Tagger and texts → the pieces to print, each without its last newline."""


def _lines(
    tagger: "GGUFTagger", texts: Iterable[str], write: Callable[[str, list["Entity"]], str]
) -> Iterator[str]:
    ahead, behind = tee(texts)
    for text, entities in zip(behind, tagger.pipe(ahead), strict=True):
        yield write(text, entities)


def as_brackets(tagger: "GGUFTagger", texts: Iterable[str]) -> Iterator[str]:
    """Yield each text, unchanged except that its entities are in brackets."""
    return _lines(tagger, texts, bracket_text)


def bracket_text(text: str, entities: Iterable["Entity"]) -> str:
    """Return `text` with each of `entities` written as `[text | label]`."""
    pieces = []
    position = 0
    for entity in entities:
        pieces.append(f"{text[position : entity.start]}[{entity.text} | {entity.label}]")
        position = entity.end
    return "".join(pieces) + text[position:]


def as_jsonl(tagger: "GGUFTagger", texts: Iterable[str]) -> Iterator[str]:
    """Yield one object per text: `text`, and `entities`, each with `start` and `end` (code points,
    half-open), `text`, `label` and `score`."""

    def write(text: str, entities: list["Entity"]) -> str:
        found = [asdict(entity) | {"score": round(entity.score, 6)} for entity in entities]
        return json.dumps({"text": text, "entities": found}, ensure_ascii=False)

    return _lines(tagger, texts, write)


def as_conll(tagger: "GGUFTagger", texts: Iterable[str]) -> Iterator[str]:
    """Yield each sentence: a word and its IOB2 tag per line, then a blank line."""
    ahead, behind = tee([word.text for word in words] for text in texts for words in segment(text))
    for words, found in zip(behind, tagger.tag_words(ahead), strict=True):
        tags = iob2_from_spans([Span(*span[:3]) for span in found], len(words))
        yield "".join(f"{word} {tag}\n" for word, tag in zip(words, tags, strict=True))


def as_redacted(tagger: "GGUFTagger", texts: Iterable[str]) -> Iterator[str]:
    """Yield each text with placeholders in place of its entities; equal names get equal ones."""
    taken: set[str] = set()
    numbering = Numbering(taken)

    def write(text: str, entities: list["Entity"]) -> str:
        taken.update(placeholders_in(text))
        found = [Place(entity.start, entity.end, entity.label) for entity in entities]
        return redact(text, places(text, found), numbering)[0]

    return _lines(tagger, texts, write)


FORMATS: dict[str, Format] = {
    "brackets": as_brackets,
    "jsonl": as_jsonl,
    "conll": as_conll,
    "redacted": as_redacted,
}
"""By the name that `--format` takes; the first is the default."""
