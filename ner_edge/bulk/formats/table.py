"""The table of input formats. A new format is a new file and a row here."""

from collections.abc import Callable
from typing import NamedTuple

from ner_edge.bulk.formats.csv_table import read_csv, scan_csv
from ner_edge.bulk.formats.json_lines import read_json, scan_json
from ner_edge.bulk.formats.parquet import read_parquet, scan_parquet
from ner_edge.bulk.formats.scan import Scan, Wanted
from ner_edge.bulk.formats.text import read_text, scan_text
from ner_edge.bulk.parts import Content, Part
from ner_edge.bulk.storage import Location
from ner_edge.errors import UsageError


class InputFormat(NamedTuple):
    """A format: the suffixes of its files, and how they are cut and their parts read."""

    suffixes: tuple[str, ...]
    scan: Callable[[Location, int, Wanted], Scan]
    read: Callable[[Location, Part, Scan, str], Content]


FORMATS = {
    "text": InputFormat((".txt",), scan_text, read_text),
    "jsonl": InputFormat((".jsonl", ".ndjson"), scan_json, read_json),
    "csv": InputFormat((".csv", ".tsv"), scan_csv, read_csv),
    "parquet": InputFormat((".parquet",), scan_parquet, read_parquet),
}
"""By name, as `--from` takes it."""


def format_of(location: Location) -> str:
    """Return the name of the format that a file's suffix stands for. Raises `UsageError`."""
    name = location.name.lower()
    for format_name, format in FORMATS.items():
        if name.endswith(format.suffixes):
            return format_name
    raise UsageError(f"{location.shown}: which format? Name it with --from: {', '.join(FORMATS)}")
