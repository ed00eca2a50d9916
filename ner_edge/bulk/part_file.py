"""The file of a part in the output: Parquet or JSON lines, whole in memory."""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow
from pyarrow import compute, parquet

from ner_edge.bulk.batches import ENTITIES, ERROR
from ner_edge.bulk.parts import Content
from ner_edge.bulk.storage import Location
from ner_edge.bulk.tables import with_columns
from ner_edge.data.formats.json_text import json_line
from ner_edge.errors import DataError, first_line

OUTPUT_FORMATS = ("parquet", "jsonl")


class Counts(msgspec.Struct, frozen=True):
    """What the files of some parts hold."""

    texts: int = 0
    entities: int = 0
    failed: int = 0
    """Texts with an error."""

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.texts + other.texts, self.entities + other.entities, self.failed + other.failed
        )


class _Record(msgspec.Struct):
    """The part of a row in JSON lines that is counted."""

    entities: list[msgspec.Raw]
    error: str | None


def count(entities: Sequence[Sequence[object]], errors: Sequence[str | None]) -> Counts:
    """Count the columns of a part."""
    failed = sum(error is not None for error in errors)
    return Counts(len(entities), sum(map(len, entities)), failed)


def encode(
    content: Content,
    entities: Sequence[list[dict[str, Any]]],
    errors: Sequence[str | None],
    format: str,
    columns: Mapping[str, Any],
    text_column: str,
) -> bytes:
    """Return the file of a part.

    In Parquet its records have the `columns`, whose values are pyarrow types; a text that is no
    string becomes JSON there. Raises `DataError` if a value does not fit.
    """
    if format == "jsonl":
        rows = content.rows if isinstance(content.rows, list) else _records(content.rows)
        lines = (
            json_line({**row, ENTITIES: found, ERROR: error})
            for row, found, error in zip(rows, entities, errors, strict=True)
        )
        return "".join(lines).encode()
    table = content.rows
    if isinstance(table, list):
        table = _table(content, columns, text_column)
    sink = io.BytesIO()
    parquet.write_table(with_columns(table, entities, errors), sink)
    return sink.getvalue()


def _records(table: Any) -> Any:
    try:
        return _json_value(table.to_pylist())
    except UnicodeDecodeError:
        raise DataError("a column is not UTF-8; use --format parquet") from None


def _json_value(value: Any) -> Any:
    """Replace what JSON does not have: no number by null, and bytes by Base64."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    return value


def _table(content: Content, columns: Mapping[str, Any], text_column: str) -> Any:
    texts = [_as_text(text) for text in content.texts]
    arrays = []
    for name, kind in columns.items():
        values = texts if name == text_column else [row.get(name) for row in content.rows]
        try:
            arrays.append(pyarrow.array(values, kind))
        except (pyarrow.ArrowException, OverflowError) as error:
            raise DataError(
                f"the field {name!r} does not fit: {first_line(error)}; use --format jsonl"
            ) from None
    return pyarrow.table(arrays, names=list(columns))


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json_line(value).removesuffix("\n")


def counts_in(location: Location) -> Counts:
    """Count a part's file. Raises `DataError` if it is damaged."""
    with location.open() as file:
        try:
            if location.name.endswith(".parquet"):
                table = parquet.read_table(file, columns=[ENTITIES, ERROR])
                found = compute.list_value_length(table[ENTITIES])
                entities = compute.sum(found).as_py() or 0
                return Counts(table.num_rows, entities, table.num_rows - table[ERROR].null_count)
            decoder = msgspec.json.Decoder(_Record)
            records = [decoder.decode(line) for line in file]
            return count([r.entities for r in records], [r.error for r in records])
        except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{location.shown}: is damaged ({first_line(error)}); "
                "remove it, and it is made again"
            ) from None
