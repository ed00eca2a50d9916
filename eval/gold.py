"""The gold standard: labelled sentences, and which of two customs counted them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ner_edge.data.corpus import Labelled, Sentence
from ner_edge.data.labelled import scan_labelled
from ner_edge.data.readers.columns import Columns
from ner_edge.errors import UsageError
from ner_edge.spans import Span


@dataclass(frozen=True)
class Gold:
    """Sentences with their gold entities, without the `-DOCSTART-` lines that open documents.

    Published tables often count those lines as sentences of one token; no score depends on it.
    """

    path: Path
    sentences: list[Sentence]
    docstart_lines: int
    left_out: dict[int, list[str]] = field(default_factory=dict)
    """The words of sentences that cannot be used, by their place among all sentences."""
    account: str = ""
    """What is left out, with reasons."""
    layout: str = ""
    """How the file was read, where that is not plain."""
    sha256: str = ""
    """Of the words of all sentences, in hexadecimal, whatever limit there is."""

    def all_words(self) -> Iterator[tuple[bool, list[str]]]:
        """The words of every sentence of the file in order, and whether it is used."""
        used = iter(self.sentences)
        for place in range(len(self.sentences) + len(self.left_out)):
            words = self.left_out.get(place)
            yield words is None, next(used).words if words is None else words

    @property
    def spans(self) -> list[list[Span]]:
        """The gold entities, sentence by sentence."""
        return [sentence.spans for sentence in self.sentences]

    @property
    def lengths(self) -> list[int]:
        """The number of words, sentence by sentence."""
        return [len(sentence.words) for sentence in self.sentences]

    @property
    def tokens(self) -> int:
        """The number of words in all sentences."""
        return sum(self.lengths)

    @property
    def entities(self) -> int:
        """The number of gold entities in all sentences."""
        return sum(map(len, self.spans))

    @property
    def labels(self) -> set[str]:
        """The labels of the gold entities."""
        return {span.label for spans in self.spans for span in spans}

    def describe(self) -> str:
        """All counts in one line, both customs where they differ."""
        sentences, tokens, entities = len(self.sentences), self.tokens, self.entities
        counts = f"{_grouped(sentences)} sentences, {_grouped(tokens)} tokens"
        if self.docstart_lines:
            sentences, tokens = sentences + self.docstart_lines, tokens + self.docstart_lines
            counts += f" ({_grouped(sentences)} and {_grouped(tokens)} with -DOCSTART- lines)"
        counts += f", {_grouped(entities)} entities"
        return f"{counts}, {self.account}" if self.account else counts

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know."""
        return [f"{self.path}: {self.layout}"] if self.layout else []


def read_gold(path: Path, limit: int | None = None, *, columns: Columns | None = None) -> Gold:
    """Read labelled sentences of any format; `limit` keeps the first sentences only, `columns` says
    where CoNLL has its words and tags.

    Raises `DataError` naming file and line, `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 sentence, not {limit}")
    labelled = scan_labelled(path, columns)
    labelled.require_legal()
    sha256 = _sha256(labelled)
    if limit is not None:
        labelled = labelled.first(limit)
    sentences: list[Sentence] = []
    left_out: dict[int, list[str]] = {}
    docstart_lines = 0
    for sentence, _, unusable in labelled.located:
        if sentence.is_docstart:
            docstart_lines += 1
        elif unusable:
            left_out[len(sentences) + len(left_out)] = sentence.words
        else:
            sentences.append(sentence)
    layout = "" if labelled.plain else labelled.layout
    return Gold(path, sentences, docstart_lines, left_out, labelled.account(), layout, sha256)


def _sha256(labelled: Labelled) -> str:
    digest = hashlib.sha256()
    for sentence in labelled.sentences():
        if not sentence.is_docstart:
            digest.update(f"{sentence.text}\n".encode())
    return digest.hexdigest()


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
