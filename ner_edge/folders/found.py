"""The entities of many files, kept in the cache, so that a killed run does not tag them again."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from ner_edge.errors import NerEdgeError, NerEdgeWarning
from ner_edge.files.cache import cache_folder
from ner_edge.files.journal import Journal
from ner_edge.folders.text import Text
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.spans import ScoredSpan


class Found(msgspec.Struct, frozen=True):
    """The entities of a text, without the text itself."""

    content: str
    """The SHA-256 of the text."""
    extracted: bool
    entities: list[ScoredSpan]
    """With offsets in characters."""


class Find(Protocol):
    """Find the entities of a text, with any score."""

    def __call__(self, text: Text) -> list[ScoredSpan]: ...


@contextmanager
def finder(tagger: GGUFTagger, run: str) -> Iterator[Find]:
    """Yield a function that finds the entities of a text, or knows them from an earlier run.

    They are kept in the cache under `run`, which must stand for the model; without a writable
    cache they are not.
    """
    try:
        path = cache_folder("found") / f"{run[:32]}.jsonl"
    except NerEdgeError:
        yield lambda text: _entities(tagger, text)
        return
    with Journal(path, Found) as journal:
        known = {
            (record.content, record.extracted): record.entities for record in journal.records()
        }

        def find(text: Text) -> list[ScoredSpan]:
            key = (text.sha256, text.extracted)
            if key not in known:
                known[key] = _entities(tagger, text)
                _keep(journal, Found(*key, known[key]))
            return known[key]

        yield find


def _keep(journal: Journal[Found], found: Found) -> None:
    try:
        journal.append(found)
    except NerEdgeError as error:
        warnings.warn(f"{error}; a killed run would start over", NerEdgeWarning, stacklevel=2)


def _entities(tagger: GGUFTagger, text: Text) -> list[ScoredSpan]:
    parts = list(text.parts())
    found = tagger.pipe((part for _, part in parts), document=True)
    return [
        ScoredSpan(start + entity.start, start + entity.end, entity.label, entity.score)
        for (start, _), entities in zip(parts, found, strict=True)
        for entity in entities
    ]
