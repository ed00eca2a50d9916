"""The key of a redaction: what each placeholder replaces, as JSON that only its owner can read."""

import stat
from pathlib import Path
from typing import Literal

import msgspec

from ner_edge.errors import DataError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.inputs import read_input
from ner_edge.files.targets import behind_link
from ner_edge.files.typed import parse_json
from ner_edge.redaction.redact import Placed

VERSION = 1
KEY_LIMIT = 1_000_000_000  # bytes


class RedactedDocument(msgspec.Struct, frozen=True):
    """What a redacted text needs to become the original."""

    name: str
    """Its path in the folder, or the name of the file."""
    original: str
    """The SHA-256 of the original text in its encoding."""
    redacted: str
    """The SHA-256 of the redacted text in its encoding."""
    word_pairs: bytes
    """Of the redacted text, as `word_pairs` makes them; Base64 in JSON."""
    placed: list[Placed]
    """Every placeholder in order, with the text it replaces."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The key of all documents that were redacted together."""

    format: Literal["ner-edge redaction key"] = "ner-edge redaction key"
    version: int = VERSION
    literal: list[str]
    """What looks like a placeholder in an original text."""
    documents: list[RedactedDocument]


class _Header(msgspec.Struct):
    version: int
    format: Literal["ner-edge redaction key"]


def encoded_key(key: Key) -> bytes:
    """Return a key as JSON."""
    return msgspec.json.format(msgspec.json.encode(key)) + b"\n"


def write_key(key: Key, path: Path) -> None:
    """Write a key into a file of mode 0600."""
    with atomic_path(behind_link(path)) as partial:
        partial.chmod(0o600)
        partial.write_bytes(encoded_key(key))


def read_key(path: Path) -> Key:
    """Read a key. Raises `DataError` if the file is none, or of another version."""
    data = read_input(path, KEY_LIMIT)
    what = "a redaction key"
    header = parse_json(data, _Header, what, str(path), error=DataError)
    if header.version != VERSION:
        raise DataError(
            f"{path}: a redaction key of version {header.version}; this ner-edge reads {VERSION}"
        )
    return parse_json(data, Key, what, str(path), error=DataError)


def others_can_read(path: Path) -> bool:
    """Whether users other than its owner may read a file."""
    return bool(stat.S_IMODE(path.stat().st_mode) & (stat.S_IRGRP | stat.S_IROTH))
