"""The text of Word files: paragraphs, tables, headers, footers, footnotes and comments."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ner_edge.documents.extract import text_of
from ner_edge.errors import DataError

_MAX_UNPACKED = 300_000_000  # bytes
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # said twice
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_OTHER_PARTS = ("header", "footer", "footnotes", "endnotes", "comments")


def read_text(path: Path) -> str:
    """Return the text of a .docx file, each paragraph and table cell a paragraph.

    Raises `DataError` if it is none, or unpacks to too much.
    """
    import docx
    from docx.opc.exceptions import PackageNotFoundError

    try:
        with zipfile.ZipFile(path) as archive:
            # Python unpacks no more of a member than the archive declares.
            if sum(member.file_size for member in archive.infolist()) > _MAX_UNPACKED:
                raise DataError(f"unpacks to more than {_MAX_UNPACKED / 1e6:g} MB")
        part = docx.Document(str(path)).part
        return text_of([text for root in _roots(part) for text in _paragraphs(root)])
    except (
        zipfile.BadZipFile,
        PackageNotFoundError,
        SyntaxError,  # lxml's errors are SyntaxErrors
        AttributeError,
        KeyError,
        ValueError,
    ) as error:
        raise DataError("is not a Word (.docx) file, or is damaged") from error


def _roots(part: Any) -> Iterator[Any]:
    from docx.oxml.parser import parse_xml

    yield part.element
    for relation in part.rels.values():
        if not relation.is_external and relation.reltype.rpartition("/")[2] in _OTHER_PARTS:
            yield parse_xml(relation.target_part.blob)


def _paragraphs(root: Any) -> Iterator[str]:
    if root.getroottree().docinfo.doctype:  # its entities, and the text in them, would be left out
        raise DataError("has a document type declaration, which Word never writes")
    for paragraph in root.iter(f"{_W}p"):
        if next(paragraph.iterancestors(_FALLBACK), None) is None:
            yield "".join(_pieces(paragraph))


def _pieces(paragraph: Any) -> Iterator[str]:
    for element in paragraph.iter():
        if next(element.iterancestors(f"{_W}p"), None) is not paragraph:
            continue  # it is in a text box, which has paragraphs of its own
        if element.tag == f"{_W}t":
            yield element.text or ""
        elif isinstance(element.tag, str) and element.tag.startswith(_W):
            yield _CHARACTERS.get(element.tag.removeprefix(_W), "")
