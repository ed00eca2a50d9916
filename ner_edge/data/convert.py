"""Turn texts with entities from one format into another, saying what does not fit."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.data.corpus import Problem
from ner_edge.data.documents import OVERLAPS, Document, outermost
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.format import Format, Holds, Losses
from ner_edge.data.labelled import scan_documents
from ner_edge.data.save import print_documents, save_documents
from ner_edge.segment import Word, segment


@dataclass(frozen=True)
class Converted:
    """What was written, and what was not."""

    texts: int
    entities: int
    layout: str
    """How the source was read."""
    contents: Contents
    """The problems of the source."""
    losses: Losses
    """What the target cannot hold."""

    @property
    def left_out(self) -> list[Problem]:
        """The entities and texts that are not in the target, by line."""
        return sorted(self.contents.left_out + self.losses.left_out)


def convert(
    source: Path, target: Path | None, to: Format, options: ReadOptions, name: str | None = None
) -> Converted:
    """Read `source`, by default in the format that it shows, and write `target` in the format `to`.

    None as target means standard output. Raises `DataError` naming file and line if the source
    violates its format, or if the target cannot hold one of its labels.
    """
    scanned = scan_documents(source, options, name)
    losses = Losses()
    kept = list(fitting(_with_origin(scanned.documents), to, losses))
    flattened = losses.entities
    if target is None:
        print_documents(kept, to, losses)
    else:
        save_documents(kept, to, target, losses)
    return Converted(
        texts=sum(not document.is_docstart for document in kept),
        entities=sum(len(document.spans) for document in kept) - losses.entities + flattened,
        layout=scanned.layout,
        contents=scanned.contents,
        losses=losses,
    )


def _with_origin(documents: list[Document]) -> list[Document]:
    """Mark all documents as predicted if some have scores, unless the file says which are."""
    if any(d.predicted for d in documents):
        return documents
    scored = any(span.score is not None for d in documents for span in d.spans)
    return [d._replace(predicted=scored and not d.rejected) for d in documents]


def fitting(documents: Iterable[Document], to: Format, losses: Losses) -> Iterator[Document]:
    """Yield what a format can hold of each text, but for what depends on its words."""
    for document in documents:
        if document.rejected and not document.predicted:
            losses.left_out.append(Problem(document.line, document.rejected))
            losses.unkept["texts that are not annotated"] += 1
        elif document.is_docstart and Holds.DOCSTART not in to.holds:
            losses.unkept["-DOCSTART- lines"] += 1
        else:
            _count_unkept(document, to.holds, losses)
            yield document if Holds.NESTED in to.holds else _flat(document, losses)


def _count_unkept(document: Document, holds: frozenset[Holds], losses: Losses) -> None:
    if Holds.SCORES not in holds:
        losses.unkept["scores"] += any(span.score is not None for span in document.spans)
    if Holds.FIELDS not in holds:
        names = document.fields.keys() - ({"id"} if Holds.ID in holds else set())
        losses.unkept[f"fields ({', '.join(sorted(names))})"] += bool(names)
    if Holds.TEXT in holds and Holds.WORDS not in holds and document.sentences is not None:
        losses.unkept["words, which will be split differently"] += not _is_segmented(
            document.text, document.sentences
        )


def _is_segmented(text: str, sentences: Sequence[Sequence[Word]]) -> bool:
    return [list(words) for words in sentences] == list(segment(text))


def _flat(document: Document, losses: Losses) -> Document:
    kept, dropped = outermost(document.spans)
    for span in dropped:
        losses.leave_out(document, span, OVERLAPS)
    return document._replace(spans=kept)
