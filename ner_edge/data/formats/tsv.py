"""Write a table of entities, one per line, its columns separated by tabs."""

from collections.abc import Iterable, Iterator

from ner_edge.data.documents import Document
from ner_edge.data.formats.format import Losses

# What would break a row, as PostgreSQL's COPY writes it.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def write_tsv(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield the head, then `number` of the text (from 1), `start`, `end`, `label`, `score`, `text`
    of each entity."""
    yield "number\tstart\tend\tlabel\tscore\ttext\n"
    for number, document in enumerate(documents, 1):
        for start, end, label, score in document.spans:
            cells = (number, start, end, label, _number(score), document.text[start:end])
            yield "\t".join(str(cell).translate(_ESCAPES) for cell in cells) + "\n"


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:.6g}"
