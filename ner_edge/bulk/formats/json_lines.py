"""JSON lines: an object per line, one of whose fields is the text."""

from typing import Any

import pyarrow

from ner_edge.bulk.batches import ENTITIES, ERROR
from ner_edge.bulk.formats.lines import SIGNATURE, decoded, lines_in, lines_of
from ner_edge.bulk.formats.scan import Scan, Wanted, check_columns
from ner_edge.bulk.parts import Content, Cutter, Part
from ner_edge.bulk.storage import Location
from ner_edge.data.formats.json_records import parsed
from ner_edge.errors import DataError, first_line

_RECORDS_PER_SCHEMA = 10_000


def scan_json(location: Location, number: int, wanted: Wanted) -> Scan:
    """Cut a file; empty lines hold no text.

    Raises `DataError` if it cannot be read, if no object has the text column, or if a field has
    several types, but a schema is wanted.
    """
    cutter = Cutter(number, wanted.part_size)
    fields = _Fields(location, wanted.text_column)
    names: dict[str, None] = {}
    with location.open() as file:
        for line in lines_of(file, location):
            cutter.add(line, rows=not _is_empty(line))
            record = _object(line)
            if isinstance(record, dict):
                names |= dict.fromkeys(record)
                if wanted.typed:
                    fields.add(record)
    # Lines that are no objects become texts of that column.
    check_columns(location, names or [wanted.text_column], wanted.text_column)
    return Scan(cutter.parts(), fields.types())


def read_json(location: Location, part: Part, scan: Scan, text_column: str) -> Content:
    """Return the objects of a part; a line that is none is itself the text, with a problem."""
    content = Content([], [], [])
    for number, line in enumerate(lines_in(location, part), part.line):
        if _is_empty(line):
            continue
        record = _object(line)
        where = f"{location.name}:{number}"
        if isinstance(record, str):
            text, _ = decoded(line.strip())
            content.add({text_column: text}, text, f"{where}: {record}")
        elif text_column not in record:
            content.add(record, None, f"{where}: has no {text_column}")
        else:
            content.add(record, record[text_column], None)
    return content


def _is_empty(line: bytes) -> bool:
    return not line.removeprefix(SIGNATURE).strip()


def _object(line: bytes) -> dict[str, Any] | str:
    """Return the object of a line, or what is wrong with it."""
    try:
        record = parsed(line.removeprefix(SIGNATURE))
    except ValueError as error:
        return str(error)
    return record if isinstance(record, dict) else "is no JSON object"


class _Fields:
    """The types of the fields of many objects."""

    def __init__(self, location: Location, text_column: str) -> None:
        self._location = location
        self._text_column = text_column
        self._records: list[dict[str, Any]] = []
        self._schema = pyarrow.schema([])

    def add(self, record: dict[str, Any]) -> None:
        self._records.append(record)
        if len(self._records) == _RECORDS_PER_SCHEMA:
            self._unify()

    def types(self) -> dict[str, Any]:
        self._unify()
        types = {field.name: field.type for field in self._schema}
        return types | {self._text_column: pyarrow.string()}

    def _unify(self) -> None:
        for name in dict.fromkeys(name for record in self._records for name in record):
            if name in (ENTITIES, ERROR):
                continue
            try:
                kind = pyarrow.string()
                if name != self._text_column:
                    kind = pyarrow.array([record.get(name) for record in self._records]).type
                self._schema = pyarrow.unify_schemas(
                    [self._schema, pyarrow.schema([(name, kind)])], promote_options="permissive"
                )
            except (pyarrow.ArrowException, OverflowError) as error:
                raise DataError(
                    f"{self._location.shown}: the field {name!r} does not fit a column "
                    f"({first_line(error)}); use --format jsonl"
                ) from None
        self._records = []
