"""CSV: a column `text`, and a column `entities` (Label Studio: `label`) that holds a JSON list.

The separator is a comma, semicolon or tab when read, a comma when written (RFC 4180).
"""

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from ner_edge.data.documents import Document
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.encoding import decoded, read_utf8
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.json_records import parsed, read_records
from ner_edge.data.formats.json_text import json_line
from ner_edge.data.formats.offsets import (
    ENTITY_KEYS,
    entity_objects,
    keys_of,
    other_fields,
)
from ner_edge.data.formats.record_format import Place
from ner_edge.errors import DataError

TEXT, ENTITIES = "text", "entities"


def read_csv(path: Path, options: ReadOptions) -> Contents:
    """Read a table whose first row names the columns; the others are fields of a text.

    An empty cell of entities means that the text was not annotated. Raises `DataError` if there is
    no column `text`.
    """
    return read_csv_table(path, read_utf8(path), options)


def read_csv_table(path: Path, data: bytes, options: ReadOptions) -> Contents:
    """Read the content of a file, as `read_csv` does."""
    contents = Contents("CSV", texts_only=options.texts_only)
    table, wrong = decoded(data)
    if wrong:
        raise DataError(f"{path}: {wrong}")
    read_records(_rows(path, table, contents), contents, "CSV")
    return contents


def _rows(path: Path, table: str, contents: Contents) -> Iterator[tuple[Place, dict[str, Any]]]:
    csv.field_size_limit(max(csv.field_size_limit(), len(table)))
    rows = csv.reader(StringIO(table, newline=""), delimiter=delimiter_of(table), strict=True)
    head: list[str] = []
    line = 1
    try:
        for row in rows:
            place, line = Place(line), rows.line_num + 1
            if not row:
                continue
            if not head:
                head = _checked(path, row)
            elif len(row) != len(head):
                message = f"has {len(row)} cells, but the table has {len(head)} columns"
                contents.illegal.append(place.problem(message))
            else:
                yield place, _record(dict(zip(head, row, strict=True)), place, contents)
    except csv.Error as error:
        raise DataError(f"{path}:{rows.line_num}: not CSV ({error})") from None


def is_table(path: Path, data: bytes) -> bool:
    """Whether a `.tsv` file has a row of names with `text`, rather than CoNLL columns."""
    head = data.partition(b"\n")[0].decode("utf-8", "replace")
    names = [name.strip().strip('"') for name in head.split("\t")]
    return path.suffix.lower() == ".tsv" and len(names) > 1 and TEXT in names


def delimiter_of(table: str) -> str:
    """Return the separator of a table, by its first line."""
    head = table.partition("\n")[0]
    return max(",;\t", key=head.count)


def _checked(path: Path, head: list[str]) -> list[str]:
    names = [name.strip() for name in head]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}:1: has two columns named {twice[0]!r}")
    if TEXT not in names:
        found = keys_of(dict.fromkeys(names))
        raise DataError(f"{path}:1: has no column named {TEXT}; its columns are {found}")
    return names


def _record(row: dict[str, Any], place: Place, contents: Contents) -> dict[str, Any]:
    """Parse the cells of entities, and leave out empty ones."""
    for name in [ENTITIES] if ENTITIES in row else row.keys() & {*ENTITY_KEYS}:
        cell = row.pop(name)
        if name == ENTITIES or cell.startswith("["):
            try:
                cell = parsed(cell.encode()) if cell.strip() else None
            except ValueError as error:
                contents.illegal.append(place.problem(f"{name}: {error}"))
                cell = []
        if cell is not None:
            row[name] = cell
    return row


def write_csv(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield the head, then one row per text. The fields of the first text become columns."""
    names: list[str] | None = None
    for document in documents:
        fields = other_fields(document, (TEXT, ENTITIES))
        if names is None:
            names = list(fields)
            yield _row([*names, TEXT, ENTITIES])
        losses.unkept["fields that the first text does not have"] += not fields.keys() <= {*names}
        cells = ["" if fields.get(name) is None else str(fields[name]) for name in names]
        entities = json_line(entity_objects(document)).removesuffix("\n")
        yield _row([*cells, document.text, entities])
    if names is None:
        yield _row([TEXT, ENTITIES])


def _row(cells: list[str]) -> str:
    line = StringIO()
    # Readers end a row at a carriage return, too, unless its cell is quoted.
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(cells)
    return line.getvalue()
