"""Labelled sentences, and what a file of them holds."""

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
        """The words joined by single spaces, as the model sees them."""
        return " ".join(self.words)

    @property
    def is_docstart(self) -> bool:
        """Is it the line that opens a document? It is no sentence, though published counts
        include it."""
        return self.words == [DOCSTART]


class Problem(NamedTuple):
    """What is wrong on a line of a file; lines count from 1."""

    line: int
    message: str


class Located(NamedTuple):
    """A sentence and the line of its file on which it begins."""

    sentence: Sentence
    line: int
    unusable: str | None = None
    """Why it would teach and measure wrongly, if so: words cannot express all of its entities, or
    an annotator rejected it."""


@dataclass(frozen=True)
class Labelled:
    """A file of labelled sentences, read to its end whatever it holds."""

    path: Path
    format: str
    """`IOB1`, `IOB2`, `IOB` (a mixture, or no entity), `BIOES`, `JSON` or `JSONL`."""
    layout: str
    """How its rows or records were read."""
    plain: bool
    """Could they not have been read otherwise?"""
    located: list[Located]
    """All sentences, with the `-DOCSTART-` lines."""
    illegal: list[Problem]
    """What no reader may pass over."""
    doubtful: list[Problem]
    """What was read all the same, but perhaps otherwise than was meant."""
    left_out: list[Problem]
    """Entities that cannot be expressed: those inside of others, and those that make a sentence
    unusable; and records without entities that an annotator rejected."""

    def sentences(self) -> Iterator[Sentence]:
        """The usable sentences, with the `-DOCSTART-` lines."""
        return (located.sentence for located in self.located if not located.unusable)

    def first(self, limit: int) -> "Labelled":
        """As if the file ended after so many usable sentences."""
        usable = 0
        for place, (sentence, line, unusable) in enumerate(self.located, 1):
            usable += not (unusable or sentence.is_docstart)
            if usable == limit:
                left_out = [problem for problem in self.left_out if problem.line <= line]
                return replace(self, located=self.located[:place], left_out=left_out)
        return self

    def account(self) -> str:
        """What is left out, with reasons; empty if nothing is."""
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
        """Also those of sentences that others make unusable, but not a record without any."""
        unusable = [located for located in self.located if located.unusable]
        reasons = {located.unusable for located in unusable}
        return sum(len(located.sentence.spans) for located in unusable) + sum(
            message not in reasons for _, message in self.left_out
        )

    def require_legal(self) -> None:
        """Raise `DataError` naming the first illegal line, or if there is no sentence at all; warn
        of what is left out or doubtful."""
        refuse(self.path, self.illegal)
        left_out = ""
        if self.left_out:
            line, message = self.left_out[0]
            left_out = f"(line {line}: {message}); `ner-edge data check` lists them"
        if all(sentence.is_docstart for sentence in self.sentences()):
            kind = "" if self.format.startswith("JSON") else " in CoNLL columns"
            raise DataError(f"{self.path}: holds no sentence{kind} {left_out}".rstrip())
        if self.doubtful:
            line, message = self.doubtful[0]
            warnings.warn(
                f"{self.path}: {counted(len(self.doubtful), 'line')} may mean something else than "
                f"was read (line {line}: {message}); `ner-edge data check` lists them",
                NerEdgeWarning,
                stacklevel=2,
            )
        if left_out:
            unusable = sum(bool(located.unusable) for located in self.located)
            entities = counted(self._entities_left_out(), "entity")
            warnings.warn(
                f"{self.path}: left out: {entities}, {counted(unusable, 'sentence')} {left_out}",
                NerEdgeWarning,
                stacklevel=2,
            )


def refuse(path: Path, illegal: Sequence[Problem]) -> None:
    """Raise `DataError` for the first of `illegal`, if there is any."""
    if illegal:
        line, message = illegal[0]
        others = len(illegal) - 1
        more = f" (and {others} more: `ner-edge data check` lists them)" if others else ""
        raise DataError(f"{path}:{line}: {message}{more}")


def shortened(text: str) -> str:
    """The beginning of a user's text in quotes, for a message."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
