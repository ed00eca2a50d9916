"""The table of formats. A new format is a new file and a row here.

A JSON format that is only read is a row of `json_formats` instead.
"""

from pathlib import Path

from ner_edge.data.formats.brackets import write_brackets
from ner_edge.data.formats.brat import is_brat, read_brat, save_brat
from ner_edge.data.formats.conll import read_conll, write_conll
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.csv_table import is_table, read_csv, read_csv_table, write_csv
from ner_edge.data.formats.docbin import read_docbin, save_docbin
from ner_edge.data.formats.encoding import read_utf8
from ner_edge.data.formats.format import Format, Holds
from ner_edge.data.formats.html import write_html
from ner_edge.data.formats.json_records import is_json, read_json_records
from ner_edge.data.formats.label_studio import write_label_studio
from ner_edge.data.formats.offsets import write_jsonl
from ner_edge.data.formats.parquet import read_parquet, save_parquet
from ner_edge.data.formats.redacted import write_redacted
from ner_edge.data.formats.tokens import write_gliner, write_huggingface
from ner_edge.data.formats.tsv import write_tsv
from ner_edge.errors import UsageError


def _read_columns(path: Path, options: ReadOptions) -> Contents:
    return read_conll(path, read_utf8(path), options)


def _read_json(path: Path, options: ReadOptions) -> Contents:
    return read_json_records(read_utf8(path), texts_only=options.texts_only)


_TABLE = frozenset({Holds.TEXT, Holds.SCORES, Holds.NESTED, Holds.FIELDS})
_WORDS = frozenset({Holds.WORDS})
_COLUMNS = frozenset({Holds.WORDS, Holds.DOCSTART})
FORMATS = {
    format.name: format
    for format in (
        Format("brackets", holds=frozenset({Holds.TEXT}), write=write_brackets),
        Format("jsonl", (".jsonl",), _TABLE, _read_json, write_jsonl),
        Format("conll", (".conll", ".iob", ".bio"), _COLUMNS, _read_columns, write_conll),
        Format("huggingface", holds=_WORDS, read=_read_json, write=write_huggingface),
        Format("gliner", holds=_WORDS, read=_read_json, write=write_gliner),
        Format("label-studio", holds=_TABLE, read=_read_json, write=write_label_studio),
        Format("csv", (".csv",), _TABLE, read_csv, write_csv),
        Format("tsv", (".tsv",), frozenset({Holds.SCORES, Holds.NESTED}), write=write_tsv),
        Format("redacted", write=write_redacted),
        Format("html", (".html",), frozenset({Holds.TEXT, Holds.SCORES}), write=write_html),
        Format(
            "spacy",
            (".spacy",),
            frozenset({Holds.TEXT, Holds.WORDS}),
            read_docbin,
            save=save_docbin,
        ),
        Format("parquet", (".parquet",), _TABLE, read_parquet, save=save_parquet),
        Format(
            "brat",
            holds=frozenset({Holds.TEXT, Holds.NESTED, Holds.ID}),
            read=read_brat,
            save=save_brat,
            is_folder=True,
        ),
    )
}
"""By name, as `--format`, `--from` and `--to` take it; the first is the default of `tag`."""
_BY_SUFFIX = {suffix: format for format in FORMATS.values() for suffix in format.suffixes}
_TABLES = ("csv", "spacy", "parquet")


def read_contents(path: Path, options: ReadOptions, name: str | None = None) -> Contents:
    """Read a file in the format of this name, or in the one that its name or its content shows.

    Raises `DataError` if the file cannot be read at all.
    """
    if name is None:
        name = "brat" if is_brat(path) else table_format(path)
    format = FORMATS[name] if name else None
    if format is not None and format.read is not None:
        return format.read(path, options)
    data = read_utf8(path)
    if is_json(data):
        return read_json_records(data, texts_only=options.texts_only)
    if is_table(path, data):
        return read_csv_table(path, data, options)
    return read_conll(path, data, options)


def table_format(path: Path) -> str | None:
    """Return the name of the format of a table, which only its suffix tells from text."""
    format = _BY_SUFFIX.get(path.suffix.lower())
    return format.name if format is not None and format.name in _TABLES else None


def suffix_format(path: Path) -> str | None:
    """Return the name of the format that the suffix of a file to read stands for."""
    format = _BY_SUFFIX.get(path.suffix.lower())
    return format.name if format is not None and format.read is not None else None


def format_to_write(option: str, target: Path | None) -> Format:
    """Return the format that the suffix of a target stands for.

    Raises `UsageError` that asks for `option` if it stands for none, or for several.
    """
    suffix = target.suffix.lower() if target else ""
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    raise UsageError(f"{target or '-'}: which format? Name it with {option}: {', '.join(FORMATS)}")
