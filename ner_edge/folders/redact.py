"""Redact files together: a name has one placeholder in all of them."""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ner_edge.errors import DataError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.targets import behind_link
from ner_edge.folders.found import Find
from ner_edge.folders.left_out import LeftOut
from ner_edge.folders.sources import Source, redacted_name, text_name
from ner_edge.folders.text import Text
from ner_edge.redaction.key import Key, RedactedDocument
from ner_edge.redaction.known_names import KnownNames, Place
from ner_edge.redaction.redact import Numbering, placeholders_in, places, redact
from ner_edge.redaction.word_pairs import word_pairs
from ner_edge.spans import ScoredSpan
from ner_edge.terminal.progress import Update
from ner_edge.terminal.streams import say

Write = Callable[[Source, bytes], None]


@dataclass(frozen=True)
class Choice:
    """Which entities are replaced."""

    labels: frozenset[str]
    min_score: float = 0.0
    everywhere: bool = True
    """Whether all other places of a name are replaced, too, and addresses that hold one."""


class Unsure(NamedTuple):
    """An entity that stays because it scored too low."""

    name: Path
    line: int
    column: int
    """Both from 1, in characters."""
    label: str
    score: float
    text: str


@dataclass
class Redaction:
    """The redacted files, as they are made."""

    choice: Choice
    documents: list[RedactedDocument] = field(default_factory=list)
    literal: set[str] = field(default_factory=set)
    unsure: list[Unsure] = field(default_factory=list)
    placeholders: int = 0

    @property
    def key(self) -> Key:
        """What restores the files."""
        return Key(documents=self.documents, literal=sorted(self.literal))

    @property
    def places(self) -> int:
        """The number of placeholders in all files."""
        return sum(len(document.placed) for document in self.documents)


class _Read(NamedTuple):
    source: Source
    sha256: str
    entities: list[ScoredSpan]


def redact_files(
    files: Sequence[Source],
    choice: Choice,
    find: Find,
    read: Callable[[Path], Text],
    write: Write,
    left_out: LeftOut,
    progress: Update,
) -> Redaction:
    """Find the entities of all files, then number their names and `write` each redacted file.

    The numbers depend on nothing but the files, their order and the choice.
    """
    redaction = Redaction(choice)
    names = KnownNames()
    found = []
    bytes_done = 0
    for number, source in enumerate(files, 1):
        with left_out.on_error(source.path):
            text = read(source.path)
            _warn_of_invalid(source.path, text)
            entities = [span for span in find(text) if span.label in choice.labels]
            found.append(_Read(source, text.sha256, entities))
            redaction.literal.update(placeholders_in(text.text))
            for start, end, label, score in entities:
                if score >= choice.min_score:
                    names.add(text.text[start:end], label)
        bytes_done += source.size
        progress(bytes_done, note=f"{number} of {len(files)} files")
    numbering = Numbering(redaction.literal)
    for source, sha256, entities in found:
        with left_out.on_error(source.path):
            text = read(source.path)
            if text.sha256 != sha256:
                raise DataError(f"{source.path}: changed while it was read")
            _redact(redaction, source, text, entities, names, numbering, write)
    redaction.placeholders = len(numbering)
    return redaction


def _redact(
    redaction: Redaction,
    source: Source,
    text: Text,
    entities: Sequence[ScoredSpan],
    names: KnownNames,
    numbering: Numbering,
    write: Write,
) -> None:
    choice = redaction.choice
    sure = [Place(*span[:3]) for span in entities if span.score >= choice.min_score]
    replaced = places(text.text, sure, names if choice.everywhere else None)
    redacted, placed = redact(text.text, replaced, numbering)
    data = text.encoded(redacted)
    write(source, data)
    digest = hashlib.sha256(data).hexdigest()
    redaction.documents.append(
        RedactedDocument(
            text_name(redacted_name(source)), text.sha256, digest, word_pairs(redacted), placed
        )
    )
    redaction.unsure += _unsure(source.name, text.text, entities, replaced, choice.min_score)
    if names.holds_name(text_name(source.name)):
        say(f"warning: {source.name}: the name of this file may hold a name that was replaced")


def _unsure(
    name: Path,
    text: str,
    entities: Sequence[ScoredSpan],
    replaced: Sequence[Place],
    min_score: float,
) -> Iterator[Unsure]:
    for start, end, label, score in entities:
        inside = any(place.start <= start and end <= place.end for place in replaced)
        if score < min_score and not inside:
            line = text.count("\n", 0, start) + 1
            column = start - (text.rfind("\n", 0, start) + 1) + 1
            yield Unsure(name, line, column, label, score, text[start:end])


def _warn_of_invalid(path: Path, text: Text) -> None:
    line = text.invalid_line()
    if line is not None:
        say(f"warning: {path}:{line}: not {text.encoding.upper()}; names there may be missed")


def write_review(unsure: Iterable[Unsure], path: Path) -> None:
    """Write a TSV that a person can go through, readable by its owner only."""
    with atomic_path(behind_link(path)) as partial:
        partial.chmod(0o600)
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            rows = csv.writer(file, dialect="excel-tab")
            rows.writerow(["file", "line", "column", "label", "score", "text"])
            for entity in unsure:
                score = f"{entity.score:.4f}"
                rows.writerow([text_name(entity.name), *entity[1:4], score, entity.text])
