"""The gold standard: labelled sentences, and which of two customs counted them."""

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from ner_edge.corpus import Sentence, read_conll
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
    """Read CoNLL columns; `limit` keeps the first sentences only.

    Raises `DataError` naming file and line, `UsageError` for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the limit must be at least 1 sentence, not {limit}")
    lines = read_conll(path, keep_docstart=True)
    seen = accumulate(not sentence.is_docstart for sentence in lines)
    kept = [line for line, number in zip(lines, seen, strict=True) if not limit or number <= limit]
    sentences = [sentence for sentence in kept if not sentence.is_docstart]
    return Gold(path, sentences, docstart_lines=len(kept) - len(sentences))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
