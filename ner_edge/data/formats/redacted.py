"""Write texts with placeholders such as `[PER_1]` in place of their entities."""

from collections.abc import Iterable, Iterator

from ner_edge.data.documents import Document
from ner_edge.data.formats.format import Losses
from ner_edge.redaction.known_names import Place
from ner_edge.redaction.redact import Numbering, placeholders_in, places, redact


def write_redacted(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield each text and a newline; equal names of a label get equal placeholders."""
    taken: set[str] = set()
    numbering = Numbering(taken)
    for document in documents:
        taken.update(placeholders_in(document.text))
        found = [Place(span.start, span.end, span.label) for span in document.spans]
        yield redact(document.text, places(document.text, found), numbering)[0] + "\n"
