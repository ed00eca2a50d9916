"""The gold standard: labelled sentences and their counts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path

from ner_edge.data.corpus import Labelled, Sentence
from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import scan_labelled
from ner_edge.errors import UsageError
from ner_edge.spans import Span
from ner_edge.terminal.counts import counted, grouped


@dataclass(frozen=True)
class Gold:
    """Sentences with their gold entities, without the `-DOCSTART-` lines that start documents.

    Published tables often count these lines as sentences of one token; no score depends on it.
    """

    path: Path
    sentences: list[Sentence]
    docstart_lines: int
    left_out: dict[int, list[str]] = field(default_factory=dict)
    """The words of each unusable sentence, by its index among all sentences."""
    account: str = ""
    """The numbers of sentences and entities left out, with reasons."""
    layout: str = ""
    """How the file was read, unless that is obvious."""
    sha256: str = ""
    """Of the words of all sentences and where documents begin, regardless of a limit; in
    hexadecimal."""
    opening: frozenset[int] = frozenset()
    """The indices of the sentences that begin a document, apart from the first."""

    def all_words(self) -> Iterator[tuple[bool, list[str]]]:
        """Yield, for every sentence of the file in order, whether it is used, and its words."""
        used = iter(self.sentences)
        for place in range(len(self.sentences) + len(self.left_out)):
            words = self.left_out.get(place)
            yield words is None, next(used).words if words is None else words

    def words(self, start: int = 0, stop: int | None = None) -> Iterator[list[str]]:
        """Yield the words of some of the sentences, and an empty sentence between documents, as
        taggers expect them."""
        for place in range(len(self.sentences))[start:stop]:
            if place in self.opening and place > start:
                yield []
            yield self.sentences[place].words

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
        """Return all counts in one line, with and without `-DOCSTART-` lines."""
        sentences, tokens = len(self.sentences), self.tokens
        counts = f"{counted(sentences, 'sentence')}, {counted(tokens, 'token')}"
        if self.docstart_lines:
            sentences, tokens = sentences + self.docstart_lines, tokens + self.docstart_lines
            counts += f" ({grouped(sentences)} and {grouped(tokens)} with -DOCSTART- lines)"
        counts += f", {counted(self.entities, 'entity')}"
        return f"{counts}, {self.account}" if self.account else counts

    @property
    def notes(self) -> list[str]:
        """Messages for the reader of the figures."""
        return [f"{self.path}: {self.layout}"] if self.layout else []


def read_gold(path: Path, limit: int | None = None, *, columns: Columns | None = None) -> Gold:
    """Read labelled sentences in any format, or only the first `limit` of them.

    `columns` are those of word and tag in CoNLL files. Raises `DataError` naming file and line,
    `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    labelled = scan_labelled(path, columns)
    labelled.require_legal()
    sha256 = _sha256(labelled)
    if limit is not None:
        labelled = labelled.first(limit)
    left_out: dict[int, list[str]] = {}
    used = docstart_lines = 0
    for one in labelled.located:
        if one.sentence.is_docstart:
            docstart_lines += 1
        elif one.unusable:
            left_out[used + len(left_out)] = one.sentence.words
        else:
            used += 1
    documents = labelled.documents()
    return Gold(
        path,
        [*chain.from_iterable(documents)],
        docstart_lines,
        left_out,
        labelled.account(),
        "" if labelled.plain else labelled.layout,
        sha256,
        frozenset(accumulate(map(len, documents[:-1]))),
    )


def _sha256(labelled: Labelled) -> str:
    digest = hashlib.sha256()
    for document in labelled.documents():
        for sentence in document:
            digest.update(f"{sentence.text}\n".encode())
        digest.update(b"\n")
    return digest.hexdigest()
