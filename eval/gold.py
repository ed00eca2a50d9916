"""The gold standard: labelled sentences, and which of two customs counted them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ner_edge.corpus import Sentence
from ner_edge.errors import UsageError
from ner_edge.labelled import scan_labelled
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
        return f"{counts}, {_grouped(entities)} entities"


def read_gold(path: Path, limit: int | None = None) -> Gold:
    """Read labelled sentences of any format; `limit` keeps the first sentences only.

    Raises `DataError` naming file and line, `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 sentence, not {limit}")
    labelled = scan_labelled(path)
    labelled.require_legal()
    sentences: list[Sentence] = []
    left_out: dict[int, list[str]] = {}
    docstart_lines = 0
    for sentence, _, usable in labelled.located:
        if sentence.is_docstart:
            docstart_lines += 1
        elif not usable:
            left_out[len(sentences) + len(left_out)] = sentence.words
        else:
            sentences.append(sentence)
        if len(sentences) == limit:
            break
    return Gold(path, sentences, docstart_lines, left_out)


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
