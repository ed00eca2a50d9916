"""Labelled sentences, and what a file of them holds."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ner_edge.errors import DataError, NerEdgeWarning
from ner_edge.spans import Span

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


class Problem(NamedTuple):
    """What is wrong on a line of a file; lines count from 1."""

    line: int
    message: str


class Located(NamedTuple):
    """A sentence and the line of its file on which it begins."""

    sentence: Sentence
    line: int
    usable: bool = True
    """False if words cannot express all of its entities: it would teach and measure wrongly."""


@dataclass(frozen=True)
class Labelled:
    """A file of labelled sentences, read to its end whatever it holds."""

    path: Path
    format: str
    """`IOB1`, `IOB2`, `IOB` (a mixture, or no entity), `BIOES` or `JSONL`."""
    located: list[Located]
    """All sentences, with the `-DOCSTART-` lines."""
    illegal: list[Problem]
    """What no reader may pass over."""
    doubtful: list[Problem]
    """What was read all the same, but perhaps otherwise than was meant."""
    left_out: list[Problem]
    """Entities that cannot be expressed: those inside of others, and those that make a sentence
    unusable."""

    def sentences(self) -> Iterator[Sentence]:
        """The usable sentences, with the `-DOCSTART-` lines."""
        return (located.sentence for located in self.located if located.usable)

    def require_legal(self) -> None:
        """Raise `DataError` naming the first illegal line, or if there is no sentence at all; warn
        of what is left out."""
        refuse(self.path, self.illegal)
        left_out = ""
        if self.left_out:
            line, message = self.left_out[0]
            left_out = f"(line {line}: {message}); `ner-edge data check` lists them"
        if all(sentence.is_docstart for sentence in self.sentences()):
            kind = "" if self.format == "JSONL" else " in CoNLL columns"
            raise DataError(f"{self.path}: holds no sentence{kind} {left_out}".rstrip())
        if left_out:
            unusable = sum(not located.usable for located in self.located)
            warnings.warn(
                f"{self.path}: {len(self.left_out)} entities and {unusable} sentences are left out "
                + left_out,
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
