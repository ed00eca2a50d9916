"""The data of a run: labelled files, of which some may count more than others."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ner_edge.data.corpus import Sentence
from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import scan_labelled
from ner_edge.errors import DataError, UsageError
from ner_edge.files.hashing import sha256_of
from ner_edge.files.inputs import name_as_text
from ner_edge.files.targets import check_given_once
from ner_edge.task import Task
from ner_edge.train.augment import AUGMENTATIONS, copies, names_in
from ner_edge.train.settings import TrainSettings

_WEIGHTED = re.compile(r"(.+):(\d+\.?\d*|\.\d+)", re.DOTALL | re.ASCII)
_LARGEST_WEIGHT = 1000


@dataclass(frozen=True)
class DataFile:
    """A labelled file; each epoch holds `weight` times as many sentences as the file."""

    path: Path
    weight: float = 1.0
    columns: Columns | None = None
    """Of word and tag in a CoNLL file; None means that they are recognized."""


class DataSet(NamedTuple):
    """A file that has been read."""

    file: DataFile
    sentences: list[Sentence]
    note: str
    """Its layout and what was left out, for the reader of the preflight."""
    sha256: str | None
    """In hexadecimal; None for a pipe, which can be read only once."""

    @property
    def provenance(self) -> dict[str, Any]:
        """The file as recorded beside the adapter."""
        return {"file": name_as_text(self.file.path), "sha256": self.sha256}


class Sample(NamedTuple):
    """A sentence to train on, and its origin as a message names it: `sentence 3 of a.conll`."""

    sentence: Sentence
    origin: str
    change: str = ""
    """How it differs from that sentence: `in lower case`."""


def parse_data_file(text: str) -> DataFile:
    """Parse `FILE` or `FILE:WEIGHT`; a file whose own name ends in a colon and a number needs a
    weight. Raises `UsageError` for a weight out of range."""
    match = _WEIGHTED.fullmatch(text)
    if match is None:
        return DataFile(Path(text))
    path, weight = Path(match[1]), float(match[2])
    if not path.exists() and Path(text).exists():
        raise UsageError(f"{path}: no such file; to use {text}, write {text}:1")
    if not 0 < weight <= _LARGEST_WEIGHT:
        raise UsageError(f"{text}: the weight must be positive and at most {_LARGEST_WEIGHT}")
    return DataFile(path, weight)


def read_data(files: Sequence[DataFile], task: Task) -> list[DataSet]:
    """Read the files.

    Raises `DataError` if one has no entity, or one with a label that the task does not have,
    `UsageError` if one is given twice or its weight leaves no sentence of it.
    """
    check_given_once([file.path for file in files])
    return [_read(file, task) for file in files]


def _read(file: DataFile, task: Task) -> DataSet:
    labelled = scan_labelled(file.path, file.columns)
    labelled.require_legal()
    sentences = [sentence for sentence in labelled.sentences() if not sentence.is_docstart]
    found = {span.label for sentence in sentences for span in sentence.spans}
    unknown = sorted(found - set(task.labels))
    if unknown:
        raise DataError(
            f"{file.path}: labels {', '.join(unknown)} are not in task '{task.name}' "
            f"({', '.join(task.labels)})"
        )
    if not found:
        raise DataError(f"{file.path}: contains no entities, so there is nothing to learn")
    if round(file.weight * len(sentences)) == 0:
        raise UsageError(
            f"{file.path}:{file.weight:g}: is not a whole sentence of the {len(sentences)}; raise "
            "the weight"
        )
    notes = [labelled.account(), "" if labelled.plain else labelled.layout]
    note = "".join(f"; {note}" for note in notes if note)
    digest = sha256_of(file.path) if file.path.is_file() else None
    return DataSet(file, sentences, note, digest)


def samples_of(data: Sequence[DataSet], settings: TrainSettings) -> list[list[Sample]]:
    """Return what to train on, file by file: its sentences, then the copies of some of them that
    the settings ask for."""
    rng = Random(settings.seed)
    names = names_in(sentence for dataset in data for sentence in dataset.sentences)
    shares = {name: value for name, value in asdict(settings).items() if name in AUGMENTATIONS}
    samples = []
    for dataset in data:
        of_file = f" of {dataset.file.path.name}" * (len(data) > 1)
        own = [
            Sample(sentence, f"sentence {number}{of_file}")
            for number, sentence in enumerate(dataset.sentences, 1)
        ]
        changed = [
            Sample(copy, own[i].origin, AUGMENTATIONS[name].done)
            for i, name, copy in copies(dataset.sentences, shares, names, rng)
        ]
        samples.append(own + changed)
    return samples
