"""Write texts unchanged, except that their entities are in brackets."""

from collections.abc import Iterable, Iterator

from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.format import Losses


def write_brackets(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield each text with brackets, and a newline."""
    for document in documents:
        yield bracket_text(document.text, document.spans) + "\n"


def bracket_text(text: str, spans: Iterable[CharSpan]) -> str:
    """Return `text` with each of `spans`, which are in order, written as `[text | label]`."""
    pieces = []
    position = 0
    for start, end, label, _ in spans:
        pieces.append(f"{text[position:start]}[{text[start:end]} | {label}]")
        position = end
    return "".join(pieces) + text[position:]
