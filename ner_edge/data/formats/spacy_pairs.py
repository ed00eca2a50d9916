"""Read the training data of spaCy 2: `[text, {"entities": [[start, end, label], …]}]`.

Format: https://spacy.io/usage/v2/training#training-data.
"""

from typing import Any

from ner_edge.data.documents import Document
from ner_edge.data.formats.contents import Contents
from ner_edge.data.formats.offsets import document_from, keys_of
from ner_edge.data.formats.record_format import Place, RecordFormat


def _fits(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], dict | list)
    )


def _read(value: Any, place: Place, contents: Contents) -> Document:
    text, found = value
    items = found.get("entities") if isinstance(found, dict) else found
    if not isinstance(items, list):
        raise ValueError(f"has no list of entities; its keys are {keys_of(found)}")
    return document_from(text, items, place, contents)


SPACY_PAIRS = RecordFormat("spaCy pairs", '[text, {"entities": …}]', _fits, _read)
