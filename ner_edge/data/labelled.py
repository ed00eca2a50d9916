"""Read labelled sentences, texts and predictions in any format."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ner_edge.data.corpus import Labelled, Located, Problem, Sentence, refuse
from ner_edge.data.documents import Document, document_of, sentences_of
from ner_edge.data.formats.columns import Columns
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.table import read_contents
from ner_edge.data.tagged import TaggedSentences, read_tagged


def read_labelled(
    path: Path, *, columns: Columns | None = None, keep_docstart: bool = False
) -> list[Sentence]:
    """Read the sentences of a file in any format.

    `columns` locate word and tag in CoNLL files. Raises `DataError` naming file and line. Warns of
    entities that cannot be used.
    """
    labelled = scan_labelled(path, columns)
    labelled.require_legal()
    return [
        sentence for sentence in labelled.sentences() if keep_docstart or not sentence.is_docstart
    ]


def scan_labelled(path: Path, columns: Columns | None = None) -> Labelled:
    """Read everything in a file, with its problems.

    Raises `DataError` if the file cannot be read, or can be read in several ways.
    """
    contents = read_contents(path, ReadOptions(columns))
    tagged = _tagged(contents)
    sentences = iter(tagged.located)
    located: list[Located] = []
    left_out = [*contents.left_out]
    for record in contents.records:
        if isinstance(record, Document):
            found, dropped = sentences_of(record)
            located += [one._replace(opens=not place) for place, one in enumerate(found)]
            left_out += dropped
        else:
            located.append(next(sentences))
    is_conll = contents.format == "CoNLL"
    return Labelled(
        path=path,
        format=tagged.scheme if is_conll else contents.format,
        layout=_layout(contents, tagged),
        plain=contents.plain,
        located=located,
        illegal=_by_line(contents.illegal + tagged.illegal),
        doubtful=_by_line(contents.doubtful + tagged.doubtful),
        left_out=_by_line(left_out),
    )


@dataclass(frozen=True)
class Documents:
    """The texts of a file, read to its end despite its problems."""

    documents: list[Document]
    layout: str
    """How they were read."""
    contents: Contents
    """Their problems, sorted by line."""


def scan_documents(path: Path, options: ReadOptions, format: str | None = None) -> Documents:
    """Read the texts and entities of a file, by default in the format that it shows.

    Raises `DataError` for the first illegal line.
    """
    contents = read_contents(path, options, format)
    tagged = _tagged(contents)
    refuse(path, _by_line(contents.illegal + tagged.illegal))
    contents.doubtful = _by_line(contents.doubtful + tagged.doubtful)
    located = iter(tagged.located)
    documents = [
        record if isinstance(record, Document) else document_of(*next(located)[:2])
        for record in contents.records
    ]
    return Documents(documents, _layout(contents, tagged), contents)


def read_documents(path: Path) -> tuple[list[Document], str]:
    """Read the texts and entities of a file of predictions.

    Also returns how they were read, if that was ambiguous, else an empty string. If several columns
    contain tags, the last one is the prediction, as for `conlleval`. Raises `DataError` naming file
    and line.
    """
    scanned = scan_documents(path, ReadOptions(predicted=True))
    return scanned.documents, "" if scanned.contents.plain else scanned.contents.layout


def _layout(contents: Contents, tagged: TaggedSentences) -> str:
    return f"{contents.layout}, {tagged.scheme}" if tagged.located else contents.layout


def _tagged(contents: Contents) -> TaggedSentences:
    return read_tagged([rows for rows in contents.records if isinstance(rows, list)])


def _by_line(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line)
