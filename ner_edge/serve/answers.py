"""Entities as the server writes them."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ner_edge.data.documents import Document
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.table import FORMATS
from ner_edge.runtime.tagger import Entity
from ner_edge.tagger import with_entities

WRITERS = {format.name: format.write for format in FORMATS.values() if format.write}
"""The formats that are streams of text."""


def entity_objects(entities: Iterable[Entity]) -> list[dict[str, Any]]:
    """Return each entity as `start` and `end` (code points, half-open), `text`, `label`, `score`.

    Scores have six decimals.
    """
    return [asdict(entity) | {"score": round(entity.score, 6)} for entity in entities]


def written(format: str, text: str, entities: Iterable[Entity]) -> str:
    """Return a text with its entities in one of the formats, without the last newline."""
    document = with_entities(Document(1, text, []), entities)
    return "".join(WRITERS[format]([document], Losses())).removesuffix("\n")
