"""Text files: each line is a text of the column `text`."""

import pyarrow

from ner_edge.bulk.formats.lines import decoded, lines_in, lines_of
from ner_edge.bulk.formats.scan import Scan, Wanted, check_columns
from ner_edge.bulk.parts import Content, Cutter, Part
from ner_edge.bulk.storage import Location

TEXT = "text"


def scan_text(location: Location, number: int, wanted: Wanted) -> Scan:
    """Cut a file. Raises `DataError` if it cannot be read, or if another column is wanted."""
    check_columns(location, [TEXT], wanted.text_column)
    cutter = Cutter(number, wanted.part_size)
    with location.open() as file:
        for line in lines_of(file, location):
            cutter.add(line)
    return Scan(cutter.parts(), {TEXT: pyarrow.string()})


def read_text(location: Location, part: Part, scan: Scan, text_column: str) -> Content:
    """Return the lines of a part; those that are not UTF-8 have a problem."""
    content = Content([], [], [])
    for line in lines_in(location, part):
        text, problem = decoded(line.removesuffix(b"\n").removesuffix(b"\r"))
        content.add({TEXT: text}, text, problem)
    return content
