"""Parquet: a column `text`, and a column `entities` of lists of structures. Needs pyarrow."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from ner_edge.data.documents import Document
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.csv_table import ENTITIES, TEXT
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.hub_rows import class_names, with_names
from ner_edge.data.formats.json_records import read_records
from ner_edge.data.formats.offsets import entity_objects, keys_of, other_fields
from ner_edge.data.formats.record_format import Place
from ner_edge.errors import DataError, first_line, missing_extra
from ner_edge.files.inputs import open_input


class _Info(msgspec.Struct, frozen=True):
    features: dict[str, Any] = {}


class _Features(msgspec.Struct):
    info: _Info = _Info()


def read_parquet(path: Path, options: ReadOptions) -> Contents:
    """Read a table; its other columns are fields of a text.

    Instead of `text` and `entities` it may have the columns of any record that JSON files have,
    such as `tokens` and `ner_tags`. Raises `DataError` for a damaged file.
    """
    arrow, parquet = _libraries()
    contents = Contents("Parquet", texts_only=options.texts_only)
    with open_input(path) as file:
        try:
            table = parquet.read_table(file)
            rows = table.to_pylist()
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not Parquet ({first_line(error)})") from None
    if rows and not rows[0].keys() & {TEXT, "tokens", "words", "tokenized_text"}:
        found = keys_of(rows[0])
        raise DataError(f"{path}: has no column named {TEXT}; its columns are {found}")
    names = _class_names(table.schema.metadata or {})
    places = (
        (Place(number), with_names(_filled(row), names)) for number, row in enumerate(rows, 1)
    )
    read_records(places, contents, "Parquet")
    return contents


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[Any]]:
    """Return the class names of columns of tags, which Hugging Face's datasets writes here."""
    try:
        features = msgspec.json.decode(metadata.get(b"huggingface", b"{}"), type=_Features)
    except ValueError:
        return {}
    kinds = features.info.features.items()
    return {name: names for name, kind in kinds if (names := class_names(kind))}


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out entities that are null: the text was not annotated."""
    return {key: value for key, value in row.items() if key != ENTITIES or value is not None}


def save_parquet(documents: Iterable[Document], path: Path, losses: Losses) -> None:
    """Write one row per text. Raises `DataError` if the values of a field have several types."""
    arrow, parquet = _libraries()
    documents = list(documents)
    taken = (TEXT, ENTITIES)
    names = dict.fromkeys(name for d in documents for name in other_fields(d, taken))
    columns = {}
    for name in names:
        try:
            columns[name] = arrow.array([document.fields.get(name) for document in documents])
        except arrow.ArrowException as error:
            raise DataError(
                f"the field {name!r} does not fit a column: {first_line(error)}"
            ) from None
    columns[TEXT] = arrow.array([document.text for document in documents], arrow.string())
    found = [entity_objects(document) for document in documents]
    columns[ENTITIES] = arrow.array(found, entities_type())
    parquet.write_table(arrow.table(columns), path)


def entities_type() -> Any:
    """Return the pyarrow type of the column `entities`."""
    arrow, _ = _libraries()
    entity = arrow.struct(
        [
            ("start", arrow.int64()),
            ("end", arrow.int64()),
            ("text", arrow.string()),
            ("label", arrow.string()),
            ("score", arrow.float64()),
        ]
    )
    return arrow.list_(entity)


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise missing_extra("parquet", error) from None
    return pyarrow, pyarrow.parquet
