"""Reading labelled sentences, whatever format they are in."""

import codecs
import re
from pathlib import Path

from ner_edge.conll import scan_conll
from ner_edge.corpus import Labelled, Sentence
from ner_edge.errors import DataError
from ner_edge.jsonl import scan_jsonl

_OBJECT = re.compile(rb"\s*\{.*\}\s*")


def read_labelled(path: Path, *, keep_docstart: bool = False) -> list[Sentence]:
    """The sentences of a file in CoNLL columns (IOB1, IOB2 or BIOES) or in JSON lines.

    Raises `DataError` naming file and line. Warns of entities that cannot be used.
    """
    labelled = scan_labelled(path)
    labelled.require_legal()
    return [
        sentence for sentence in labelled.sentences() if keep_docstart or not sentence.is_docstart
    ]


def scan_labelled(path: Path) -> Labelled:
    """All that a file holds, with its problems. Raises `DataError` only if it cannot be read."""
    lines = read_lines(path)
    return scan_jsonl(path, lines) if is_jsonl(path, lines) else scan_conll(path, lines)


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file, without a byte order mark. Raises `DataError`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{path}: is UTF-16 text; save it as UTF-8")
    return data.removeprefix(codecs.BOM_UTF8).split(b"\n")


def is_jsonl(path: Path, lines: list[bytes]) -> bool:
    """Does the file's name say JSON, or is its first line that is not blank an object?"""
    first = next((line for line in lines if line.strip()), b"")
    return path.suffix in (".jsonl", ".ndjson", ".json") or bool(_OBJECT.fullmatch(first))
