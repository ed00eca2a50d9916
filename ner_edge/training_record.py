"""The record that training leaves beside an adapter: its settings, and where its data are from."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from ner_edge.files.atomic import write_text
from ner_edge.files.typed import read_json

RECORD_FILE = "training_settings.json"
ATTRIBUTION_KEY = "ner_edge.attribution"
"""The key of a GGUF file for its attributions, one a line."""


class _Attributed(msgspec.Struct):
    attribution: list[str] = []


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record in the folder of an adapter; empty for one made elsewhere.

    Raises `ModelError` if the file is not a record.
    """
    return _read(folder, dict[str, Any]) or {}


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write the record into the folder of an adapter."""
    write_text(json.dumps(record, indent=2) + "\n", str(folder / RECORD_FILE))


def read_attributions(folder: Path) -> list[str]:
    """Return the credits that the licences of an adapter's training data ask for.

    Raises `ModelError` if the record is damaged.
    """
    record = _read(folder, _Attributed)
    return record.attribution if record else []


def union(lists: Iterable[Iterable[str]]) -> list[str]:
    """Return the attributions of all `lists`, each once, without line breaks."""
    texts = (" ".join(text.split()) for one in lists for text in one)
    return list(dict.fromkeys(filter(None, texts)))


def _read(folder: Path, kind: Any) -> Any:
    path = folder / RECORD_FILE
    return read_json(path, kind, "a record of training") if path.exists() else None
