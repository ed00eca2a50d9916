"""The text of HTML files, without markup, scripts and styles."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ner_edge.documents.extract import text_of
from ner_edge.errors import DataError

if TYPE_CHECKING:
    from bs4.element import PageElement, Tag

# Elements between whose texts browsers start a line.
_BLOCK_NAMES = """
    address article aside blockquote body caption center dd details dialog dir div dl dt
    fieldset figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hgroup hr
    html legend li main menu nav ol optgroup option p section select summary table tbody td
    textarea tfoot th thead title tr ul
"""
_BLOCKS = set(_BLOCK_NAMES.split())
_HIDDEN = {"script", "style", "template", "noscript"}
_AS_WRITTEN = {"pre", "code", "textarea"}
_SPACE = re.compile(r"[ \t\n\r\f]+")


def read_text(path: Path) -> str:
    """Return the text of an HTML file, each block a paragraph. Raises `DataError`."""
    return text_of_html(path.read_bytes())


def text_of_html(markup: bytes | str) -> str:
    """Return the text of HTML, whose encoding is found as browsers find it."""
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup

    try:
        soup = BeautifulSoup(markup, "html.parser")
    except (ParserRejectedMarkup, RecursionError) as error:
        raise DataError("is not HTML, or is damaged") from error
    return text_of(["".join(pieces) for pieces in _paragraphs(soup)])


def _paragraphs(root: "Tag") -> Iterator[list[str]]:
    from bs4.element import NavigableString, PreformattedString, Tag

    pieces: list[str] = []
    # A stack instead of recursion, which many nested elements would exhaust. `None` ends a block.
    stack: list[PageElement | None] = [root]
    while stack:
        node = stack.pop()
        if node is None or (isinstance(node, Tag) and node.name in _BLOCKS):
            yield pieces
            pieces = []
        if isinstance(node, Tag) and node.name not in _HIDDEN:
            if node.name == "br":
                pieces.append("\n")
            if node.name in _BLOCKS:
                stack.append(None)
            stack += reversed(node.contents)
        # Comments, doctypes and processing instructions are preformatted strings.
        elif isinstance(node, NavigableString) and not isinstance(node, PreformattedString):
            as_written = node.parent is not None and node.parent.name in _AS_WRITTEN
            pieces.append(str(node) if as_written else _SPACE.sub(" ", node))
    yield pieces
