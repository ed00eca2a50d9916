"""Read JSON: one record per line, or a list of records."""

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ner_edge.data.corpus import Problem, shortened
from ner_edge.data.formats.contents import Contents
from ner_edge.data.formats.encoding import decoded
from ner_edge.data.formats.hub_rows import hub_rows
from ner_edge.data.formats.json_formats import FORMATS
from ner_edge.data.formats.offsets import keys_of
from ner_edge.data.formats.record_format import Place
from ner_edge.data.schemes import spelt_like_a_tag
from ner_edge.terminal.counts import counted

_FIRST_LINE = re.compile(rb"\s*+([\[{][^\n]*+)")
_BYTE = re.compile(r" \(byte (\d+)\)")
_TOO_DEEP = "not JSON that can be read (nested too deeply)"


def is_json(data: bytes) -> bool:
    """Whether `data` begins like a list or an object. In CoNLL columns a bracket may be a word."""
    match = _FIRST_LINE.match(data)
    if match is None:
        return False
    fields = match[1].rsplit(None, 1)
    return len(fields) < 2 or not spelt_like_a_tag(fields[1].decode("utf-8", "replace"))


def read_json_records(data: bytes, *, texts_only: bool = False) -> Contents:
    """Read JSON; `texts_only` accepts texts without entities."""
    lines = _is_lines(data) or not data.strip()
    contents = Contents("JSONL" if lines else "JSON", texts_only=texts_only)
    if lines:
        read_records(_lines(data), contents, "JSON lines")
    else:
        read_records(_list(data, contents), contents, "JSON")
    return contents


def read_records(places: Iterable[tuple[Place, Any]], contents: Contents, kind: str) -> None:
    """Read each record, as a value or as JSON, with the first of the `FORMATS` that fits it.

    `kind` is what the file is, for `contents.layout`.
    """
    names: dict[str, None] = {}
    for place, raw in places:
        try:
            value = parsed(raw) if isinstance(raw, bytes) else raw
            fitting = next((format for format in FORMATS if format.fits(value)), None)
            if fitting is None:
                wanted = ", or ".join(format.wanted for format in reversed(FORMATS))
                raise ValueError(f"expected {wanted}; found {_described(value)}")
            contents.records.append(fitting.read(value, place, contents))
            names[fitting.name] = None
        except ValueError as error:
            contents.illegal.append(place.problem(str(error)))
    contents.layout = f"{kind}: {', '.join(names) or 'no record'}"
    contents.plain = len(names) < 2


def _is_lines(data: bytes) -> bool:
    """Whether the first line is a record by itself, rather than part or all of a list of records.

    A first line that is not JSON is damaged, unless the whole file is a single value.
    """
    match = _FIRST_LINE.match(data)
    first = match[1] if match else b""
    rest = data[match.end() :].strip() if match else b""
    try:
        value = msgspec.json.decode(first)
    except (ValueError, RecursionError):
        if first.strip() in (b"[", b"{"):
            return False
        return bool(rest) and not _is_value(data) and _is_value(rest.partition(b"\n")[0])
    whole = hub_rows(value) is not None or (isinstance(value, list) and not _is_record(value))
    return bool(rest) or not whole


def _is_value(data: bytes) -> bool:
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return data.lstrip()[:1] in (b"[", b"{")


def _is_record(value: Any) -> bool:
    return any(format.fits(value) for format in FORMATS)


def _lines(data: bytes) -> Iterator[tuple[Place, bytes]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.removeprefix(codecs.BOM_UTF8).strip():
            yield Place(number), line


def _list(data: bytes, contents: Contents) -> Iterator[tuple[Place, Any]]:
    """Yield the records of a list, or the only value in the file."""
    try:
        records: Any = msgspec.json.decode(data, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except RecursionError:
        contents.illegal.append(Problem(1, _TOO_DEEP))
        return
    except ValueError as error:
        place = _BYTE.search(str(error))
        line = data.count(b"\n", 0, int(place[1]) if place else len(data)) + 1
        contents.illegal.append(Problem(line, f"not JSON ({_BYTE.sub('', str(error))})"))
        return
    if isinstance(records, dict) or (records and bytes(records[0]).startswith(b'"')):
        yield from _single(data, contents)  # a spaCy pair begins with its text
        return
    position, line = 0, 1
    for number, raw in enumerate(map(bytes, records), 1):
        start = data.index(raw, position)
        line += data.count(b"\n", position, start)
        yield Place(line, number), raw
        line += raw.count(b"\n")
        position = start + len(raw)


def _single(data: bytes, contents: Contents) -> Iterator[tuple[Place, Any]]:
    try:
        value = parsed(data)
    except ValueError as error:
        contents.illegal.append(Problem(1, str(error)))
        return
    rows = hub_rows(value)
    if rows is None:
        yield Place(1), value
    else:
        yield from ((Place(1, number), row) for number, row in enumerate(rows, 1))


def parsed(data: bytes) -> Any:
    """Parse JSON. Raises `ValueError` with a reason."""
    text, wrong = decoded(data)
    if wrong:
        raise ValueError(wrong)
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"not valid JSON ({_BYTE.sub('', str(error))})") from None


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with the keys {keys_of(value)}"
    if not isinstance(value, list):
        return shortened(str(value))
    if value and all(isinstance(item, dict) and "start" in item for item in value):
        return "entities without their text"
    return f"a list of {counted(len(value), 'value')}"
