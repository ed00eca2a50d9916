"""Write a page that shows texts with their entities, as spaCy's displaCy draws them.

Its look: https://github.com/explosion/spaCy/blob/master/spacy/displacy/templates.py.
"""

from collections.abc import Iterable, Iterator
from html import escape
from zlib import crc32

from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.format import Losses

_HEAD = """\
<!DOCTYPE html>
<html lang="und">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Entities</title>
<style>
body { font-family: system-ui, sans-serif; font-size: 16px; padding: 4rem 2rem; }
.entities { line-height: 2.5; margin-bottom: 1.5rem; white-space: pre-wrap; \
overflow-wrap: break-word; unicode-bidi: plaintext; }
.entity { background: #ddd; color: #222; padding: 0.45em 0.6em; margin: 0 0.25em; \
line-height: 1; border-radius: 0.35em; }
.entity span { font-size: 0.8em; font-weight: bold; line-height: 1; margin-left: 0.5rem; \
unicode-bidi: isolate; }
</style>
</head>
<body>
"""
_TAIL = "</body>\n</html>\n"
# displaCy's colours of spaCy's labels, with the labels of CoNLL-2003 beside their likes.
_COLOURS = {
    "ORG": "#7aecec",
    "PRODUCT": "#bfeeb7",
    "GPE": "#feca74",
    "LOC": "#ff9561",
    "PERSON": "#aa9cfc",
    "PER": "#aa9cfc",
    "NORP": "#c887fb",
    "MISC": "#c887fb",
    "FAC": "#9cc9cc",
    "EVENT": "#ffeb80",
    "LAW": "#ff8197",
    "LANGUAGE": "#ff8197",
    "WORK_OF_ART": "#f0d0ff",
    "DATE": "#bfe1d9",
    "TIME": "#bfe1d9",
    "MONEY": "#e4e7d2",
    "QUANTITY": "#e4e7d2",
    "ORDINAL": "#e4e7d2",
    "CARDINAL": "#e4e7d2",
    "PERCENT": "#e4e7d2",
}


def write_html(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield a page without scripts or references to other files."""
    yield _HEAD
    for document in documents:
        yield f'<div class="entities">{_marked(document)}</div>\n'
    yield _TAIL


def _marked(document: Document) -> str:
    pieces = []
    position = 0
    for span in sorted(document.spans):
        pieces.append(escape(document.text[position : span.start]))
        pieces.append(_mark(document.text[span.start : span.end], span))
        position = span.end
    return "".join(pieces) + escape(document.text[position:])


def _mark(text: str, span: CharSpan) -> str:
    title = "" if span.score is None else f' title="score {span.score:.3f}"'
    style = f' style="background: {_colour(span.label)}"'
    return (
        f'<mark class="entity"{style}{title}>{escape(text)}<span>{escape(span.label)}</span></mark>'
    )


def _colour(label: str) -> str:
    palette = sorted(set(_COLOURS.values()))
    return _COLOURS.get(label.upper()) or palette[crc32(label.encode()) % len(palette)]
