"""CSV: the first row names the columns; the separator is a comma, a semicolon or a tab."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain

import pyarrow

from ner_edge.bulk.formats.lines import LINE_LIMIT, SIGNATURE, decoded, lines_in, lines_of
from ner_edge.bulk.formats.scan import Scan, Wanted, check_columns
from ner_edge.bulk.parts import Content, Cutter, Part
from ner_edge.bulk.storage import Location
from ner_edge.data.formats.csv_table import delimiter_of
from ner_edge.errors import DataError


def scan_csv(location: Location, number: int, wanted: Wanted) -> Scan:
    """Cut a file. Raises `DataError` if it is no table or does not have the text column."""
    cutter = Cutter(number, wanted.part_size)
    head: list[str] = []
    with location.open() as file:
        lines = lines_of(file, location)
        first = next(lines, b"")
        delimiter = delimiter_of(first.decode("utf-8", "replace"))
        rows = _Rows(chain([first], lines), delimiter)
        while (row := rows.next(f"{location.shown}:{cutter.line}")) is not None:
            if head:
                cutter.add(b"".join(rows.lines), rows=bool(row))
                continue
            cutter.skip(b"".join(rows.lines))
            if row:
                head = [name.strip() for name in row]
                if any(decoded(_bytes(name))[1] for name in head):
                    raise DataError(f"{location.shown}: is not UTF-8; convert it to UTF-8")
                check_columns(location, head, wanted.text_column)
    return Scan(cutter.parts(), dict.fromkeys(head, pyarrow.string()), delimiter)


def read_csv(location: Location, part: Part, scan: Scan, text_column: str) -> Content:
    """Return the rows of a part; one with too few or too many cells has a problem."""
    content = Content([], [], [])
    head = list(scan.columns)
    rows = _Rows(lines_in(location, part), scan.delimiter)
    line = part.line
    while (row := rows.next(f"{location.shown}:{line}")) is not None:
        if row:
            cells = [decoded(_bytes(cell)) for cell in row]
            texts = [text for text, _ in cells]
            problem = next((problem for _, problem in cells if problem), None)
            if len(row) != len(head):
                wrong = f"has {len(row)} cells, but the table has {len(head)} columns"
                problem = f"{location.name}:{line}: {wrong}"
            record = dict.fromkeys(head) | dict(zip(head, texts, strict=False))
            content.add(record, record[text_column], problem)
        line += sum(data.count(b"\n") for data in rows.lines)
    return content


def _bytes(cell: str) -> bytes:
    return cell.encode("utf-8", "surrogateescape")


class _Rows:
    """The rows of a table, and the lines of the last one."""

    def __init__(self, lines: Iterable[bytes], delimiter: str) -> None:
        csv.field_size_limit(LINE_LIMIT)
        self.lines: list[bytes] = []
        self._rows = csv.reader(self._decoded(lines), delimiter=delimiter, strict=True)

    def next(self, where: str) -> list[str] | None:
        """Return the next row, empty for an empty line; None at the end. Raises `DataError`."""
        self.lines = []
        try:
            return next(self._rows, None)
        except csv.Error as error:
            reason = str(error)
            if "new-line" in reason:  # Python's advice is meant for programmers
                reason = "a carriage return without a line feed; convert the line ends"
            raise DataError(f"{where}: not CSV ({reason})") from None

    def _decoded(self, lines: Iterable[bytes]) -> Iterator[str]:
        for number, line in enumerate(lines):
            self.lines.append(line)
            text = line.removeprefix(SIGNATURE) if number == 0 else line
            yield text.decode("utf-8", "surrogateescape")
