"""Labelled sentences, and files of them."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from ner_edge.errors import DataError, NerEdgeWarning
from ner_edge.spans import Span
from ner_edge.terminal.counts import counted

DOCSTART = "-DOCSTART-"


@dataclass(frozen=True)
class Sentence:
    """Words with their gold or predicted entities."""

    words: list[str]
    spans: list[Span] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The words joined by single spaces."""
        return " ".join(self.words)

    @property
    def is_docstart(self) -> bool:
        """Whether this is the line that opens a document, which published counts include."""
        return self.words == [DOCSTART]


class Problem(NamedTuple):
    """A problem on a line of a file, counted from 1."""

    line: int
    message: str


class Located(NamedTuple):
    """A sentence and the line of its file on which it begins."""

    sentence: Sentence
    line: int
    unusable: str | None = None
    """Why the sentence cannot be used for training or evaluation: its entities do not match word
    boundaries, or an annotator rejected it. None if it can be used."""
    opens: bool = False
    """Whether a document begins with it, apart from what `-DOCSTART-` lines say."""


@dataclass(frozen=True)
class Labelled:
    """A file of labelled sentences, read to its end despite its problems."""

    path: Path
    format: str
    """`IOB1`, `IOB2`, `IOB` (a mixture, or no entity), `BIOES`, or that of `Contents`."""
    layout: str
    """How rows or records were read."""
    plain: bool
    """Whether there was only one way to read them."""
    located: list[Located]
    """All sentences, with the `-DOCSTART-` lines."""
    illegal: list[Problem]
    """Errors that no reader may skip."""
    doubtful: list[Problem]
    """Lines that were read, but perhaps not as they were meant."""
    left_out: list[Problem]
    """Entities that spans of words cannot express (inside another entity, or not on word
    boundaries), and rejected records without entities."""

    def sentences(self) -> Iterator[Sentence]:
        """Yield the usable sentences, and the `-DOCSTART-` lines."""
        return (located.sentence for located in self.located if not located.unusable)

    def documents(self) -> list[list[Sentence]]:
        """Return the usable sentences, document by document; each is one if the file does not say
        where documents begin, since neighbours that are unrelated mislead a model."""
        if not any(one.opens or one.sentence.is_docstart for one in self.located):
            return [[sentence] for sentence in self.sentences()]
        documents: list[list[Sentence]] = [[]]
        for one in self.located:
            if one.opens or one.sentence.is_docstart:
                documents.append([])
            if not (one.unusable or one.sentence.is_docstart):
                documents[-1].append(one.sentence)
        return [document for document in documents if document]

    def first(self, limit: int) -> "Labelled":
        """Return the same as if the file ended after `limit` usable sentences."""
        usable = 0
        for place, one in enumerate(self.located, 1):
            usable += not (one.unusable or one.sentence.is_docstart)
            if usable == limit:
                left_out = [problem for problem in self.left_out if problem.line <= one.line]
                return replace(self, located=self.located[:place], left_out=left_out)
        return self

    def account(self) -> str:
        """Return the numbers of sentences and entities left out, with reasons; empty if none."""
        reasons = Counter(located.unusable for located in self.located if located.unusable)
        counts = []
        if reasons:
            why = "; ".join(
                reason if len(reasons) == 1 else f"{count}: {reason}"
                for reason, count in reasons.most_common()
            )
            counts.append(f"{counted(reasons.total(), 'sentence')} left out ({why})")
        if entities := self._entities_left_out():
            counts.append(f"{counted(entities, 'entity')} left out")
        return ", ".join(counts)

    def _entities_left_out(self) -> int:
        """Count the entities left out, including all those of unusable sentences."""
        unusable = [located for located in self.located if located.unusable]
        reasons = {located.unusable for located in unusable}
        return sum(len(located.sentence.spans) for located in unusable) + sum(
            message not in reasons for _, message in self.left_out
        )

    def require_legal(self) -> None:
        """Raise `DataError` for the first illegal line or a file without sentences.

        Warns of doubtful lines and of entities that are left out.
        """
        refuse(self.path, self.illegal)
        left_out = _first_of(self.left_out)
        if all(sentence.is_docstart for sentence in self.sentences()):
            kind = " in CoNLL columns" if self.format.startswith(("IOB", "BIO")) else ""
            raise DataError(f"{self.path}: contains no sentences{kind} {left_out}".rstrip())
        if self.doubtful:
            lines = counted(len(self.doubtful), "line")
            _warn(f"{self.path}: {lines} may be misread {_first_of(self.doubtful)}")
        if self.left_out:
            unusable = sum(bool(located.unusable) for located in self.located)
            entities = counted(self._entities_left_out(), "entity")
            sentences = counted(unusable, "sentence")
            _warn(f"{self.path}: left out: {entities}, {sentences} {left_out}")


def _first_of(problems: Sequence[Problem]) -> str:
    if not problems:
        return ""
    line, message = problems[0]
    return f"(line {line}: {message}); `ner-edge data check` lists them"


def _warn(message: str) -> None:
    warnings.warn(message, NerEdgeWarning, stacklevel=3)


def refuse(path: Path, illegal: Sequence[Problem]) -> None:
    """Raise `DataError` for the first of `illegal`, if any."""
    if illegal:
        line, message = illegal[0]
        others = len(illegal) - 1
        more = f" (and {others} more: `ner-edge data check` lists them)" if others else ""
        raise DataError(f"{path}:{line}: {message}{more}")


def shortened(text: str) -> str:
    """Return the beginning of a user's text in quotes, for a message."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
