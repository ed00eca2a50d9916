"""Parquet: parts are rows of one row group."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any

import pyarrow
from pyarrow import parquet

from ner_edge.bulk.formats.lines import decoded
from ner_edge.bulk.formats.scan import Scan, Wanted, check_columns
from ner_edge.bulk.parts import PART_BYTES, Content, Part
from ner_edge.bulk.storage import Location
from ner_edge.errors import DataError, first_line

_END = 8  # bytes: the size of the footer, and a mark
_ROWS_AT_A_TIME = 1000


def scan_parquet(location: Location, number: int, wanted: Wanted) -> Scan:
    """Cut a file by its footer. Raises `DataError` if it is damaged or has no column of text."""
    with location.open() as file, _errors(location):
        table = parquet.ParquetFile(file)
        schema = table.schema_arrow
        check_columns(location, schema.names, wanted.text_column)
        kind = schema.field(wanted.text_column).type
        if not _is_text(kind):
            raise DataError(
                f"{location.shown}: the column {wanted.text_column} holds {kind}, not text"
            )
        sha256 = _footer_hash(file)
        parts = []
        first = 1
        for group in range(table.num_row_groups):
            row_group = table.metadata.row_group(group)
            step = _step(row_group, wanted)
            for offset in range(0, row_group.num_rows, step):
                rows = min(step, row_group.num_rows - offset)
                parts.append(Part(number, first, rows, offset, group=group, sha256=sha256))
                first += rows
    return Scan(parts, {field.name: field.type for field in schema})


def read_parquet(location: Location, part: Part, scan: Scan, text_column: str) -> Content:
    """Return the rows of a part as a table. Raises `DataError` if they are damaged or changed."""
    with location.open() as file, _errors(location):
        table = parquet.ParquetFile(file)
        if _footer_hash(file) != part.sha256:
            raise DataError(f"{location.shown}: changed after this run began")
        rows = pyarrow.Table.from_batches(_slices(table, part), table.schema_arrow)
        if rows.num_rows != part.rows:
            raise DataError(f"{location.shown}: row group {part.group} has too few rows")
        try:
            return Content(rows[text_column].to_pylist(), [None] * part.rows, rows)
        except UnicodeDecodeError:
            return _repaired(rows, text_column)


def _repaired(rows: Any, text_column: str) -> Content:
    """Return rows with U+FFFD for the bytes of their texts that are not UTF-8."""
    field = rows.schema.field(text_column)
    kind = field.type.value_type if pyarrow.types.is_dictionary(field.type) else field.type
    values = rows[text_column].cast(kind).cast(pyarrow.large_binary()).to_pylist()
    pairs = [(None, None) if value is None else decoded(value) for value in values]
    texts = [text for text, _ in pairs]
    column = pyarrow.array(texts, pyarrow.string()).cast(field.type)
    rows = rows.set_column(rows.schema.get_field_index(text_column), field, column)
    return Content(texts, [problem for _, problem in pairs], rows)


def _step(row_group: Any, wanted: Wanted) -> int:
    """The rows of a part: `part_size`, or fewer if the texts are long."""
    columns = [row_group.column(i) for i in range(row_group.num_columns)]
    size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema == wanted.text_column)
    rows: int = PART_BYTES * row_group.num_rows // max(1, size)
    return max(1, min(wanted.part_size, rows))


def _slices(table: Any, part: Part) -> Iterator[Any]:
    """Yield the rows of a part in pieces, without holding the whole row group."""
    begin, end = part.offset, part.offset + part.rows
    position = 0
    for batch in table.iter_batches(_ROWS_AT_A_TIME, row_groups=[part.group]):
        first, last = max(begin - position, 0), min(end - position, batch.num_rows)
        if first < last:
            yield batch.slice(first, last - first)
        position += batch.num_rows
        if position >= end:
            break


def _is_text(kind: Any) -> bool:
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        is_kind(kind)
        for is_kind in (
            pyarrow.types.is_string,
            pyarrow.types.is_large_string,
            pyarrow.types.is_string_view,
            pyarrow.types.is_null,
        )
    )


def _footer_hash(file: BufferedReader) -> str:
    end = file.seek(-_END, 2)
    size = int.from_bytes(file.read(4), "little")
    file.seek(max(0, end - size))
    return hashlib.sha256(file.read(size)).hexdigest()


@contextmanager
def _errors(location: Location) -> Iterator[None]:
    try:
        yield
    except (pyarrow.ArrowException, OSError, ValueError, EOFError) as error:
        raise DataError(f"{location.shown}: not Parquet ({first_line(error)})") from None
