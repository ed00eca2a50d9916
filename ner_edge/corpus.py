"""Labelled sentences: the CoNLL-2003 column format, read and written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from ner_edge.errors import DataError
from ner_edge.spans import Span, iob1_from_spans, spans_from_tags

DOCSTART = "-DOCSTART-"


@dataclass(frozen=True)
class Sentence:
    """Words with their gold or predicted entities."""

    words: list[str]
    spans: list[Span] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words joined by single spaces, as the model sees them."""
        return " ".join(self.words)

    @property
    def is_docstart(self) -> bool:
        """Is it the line that opens a document? It is no sentence, though published counts
        include it."""
        return self.words[:1] == [DOCSTART]


def read_conll(path: Path, *, keep_docstart: bool = False) -> list[Sentence]:
    """Read columns separated by white space: the word first, its IOB1 or IOB2 tag last.

    Blank lines separate sentences. Raises `DataError` naming file and line.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{number}: not UTF-8 text ({error.reason})") from error
    sentences = []
    for first_line, rows in _blocks(path, lines):
        for number, row in enumerate(rows, first_line):
            try:
                spans_from_tags(row[-1:])
            except DataError as error:
                raise DataError(f"{path}:{number}: {error}") from None
        sentence = Sentence([row[0] for row in rows], spans_from_tags([row[-1] for row in rows]))
        if keep_docstart or not sentence.is_docstart:
            sentences.append(sentence)
    if not sentences:
        raise DataError(f"{path}: holds no sentence in CoNLL columns")
    return sentences


def _blocks(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[list[str]]]]:
    rows: list[list[str]] = []
    for number, line in enumerate([*lines, ""], 1):
        columns = line.split()
        if columns:
            if len(columns) < 2:
                raise DataError(f"{path}:{number}: expected a word and its tag, found '{line}'")
            rows.append(columns)
        elif rows:
            yield number - len(rows), rows
            rows = []


def write_conll(sentences: Iterable[Sentence], stream: TextIO) -> None:
    """Write two columns, word and IOB1 tag, with a blank line after each sentence."""
    for sentence in sentences:
        tags = iob1_from_spans(sentence.spans, len(sentence.words))
        for word, tag in zip(sentence.words, tags, strict=True):
            stream.write(f"{word} {tag}\n")
        stream.write("\n")
