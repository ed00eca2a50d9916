"""Read labelled sentences and predictions in any of the formats of `readers`."""

from collections.abc import Iterable
from pathlib import Path

from ner_edge.data.corpus import Labelled, Located, Problem, Sentence, refuse
from ner_edge.data.documents import Document, document_of, sentences_of
from ner_edge.data.readers.columns import Columns
from ner_edge.data.readers.conll import read_conll
from ner_edge.data.readers.contents import Contents
from ner_edge.data.readers.encoding import read_utf8
from ner_edge.data.readers.json_records import is_json, read_json_records
from ner_edge.data.tagged import TaggedSentences, read_tagged


def read_labelled(
    path: Path, *, columns: Columns | None = None, keep_docstart: bool = False
) -> list[Sentence]:
    """Read the sentences of a file: CoNLL columns (IOB1, IOB2 or BIOES), or a JSON format.

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
    contents, tagged = _read(path, columns)
    sentences = iter(tagged.located)
    located: list[Located] = []
    left_out = [*contents.left_out]
    for record in contents.records:
        if isinstance(record, Document):
            found, dropped = sentences_of(record)
            located += found
            left_out += dropped
        else:
            located.append(next(sentences))
    is_conll = contents.format == "CoNLL"
    layout = contents.layout
    if tagged.located:
        layout += f", {tagged.scheme}"
    return Labelled(
        path=path,
        format=tagged.scheme if is_conll else contents.format,
        layout=layout,
        plain=contents.plain,
        located=located,
        illegal=_by_line(contents.illegal + tagged.illegal),
        doubtful=_by_line(contents.doubtful + tagged.doubtful),
        left_out=_by_line(left_out),
    )


def read_documents(path: Path) -> tuple[list[Document], str]:
    """Read the texts and entities of a file of predictions.

    Also returns how they were read, if that was ambiguous, else an empty string. If several columns
    contain tags, the last one is the prediction, as for `conlleval`. Raises `DataError` naming file
    and line.
    """
    contents, tagged = _read(path, None, predicted=True)
    refuse(path, _by_line(contents.illegal + tagged.illegal))
    located = iter(tagged.located)
    documents = [
        record if isinstance(record, Document) else document_of(*next(located)[:2])
        for record in contents.records
    ]
    return documents, "" if contents.plain else contents.layout


def _read(
    path: Path, columns: Columns | None, *, predicted: bool = False
) -> tuple[Contents, TaggedSentences]:
    data = read_utf8(path)
    if is_json(data):
        contents = read_json_records(data)
    else:
        contents = read_conll(path, data, columns, predicted=predicted)
    return contents, read_tagged([rows for rows in contents.records if isinstance(rows, list)])


def _by_line(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line)
