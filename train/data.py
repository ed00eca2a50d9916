"""The data of a run: labelled files, of which some may count more than others."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
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
from ner_edge.train.batches import Share
from ner_edge.train.passages import cut, joined, of_words, shuffled
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
    documents: list[list[Sentence]]
    note: str
    """Its layout and what was left out, for the reader of the preflight."""
    sha256: str | None
    """In hexadecimal; None for a pipe, which can be read only once."""

    @property
    def sentences(self) -> list[Sentence]:
        """Those of all documents."""
        return [*chain.from_iterable(self.documents)]

    def passages(self, most_words: int) -> list[list[list[Sentence]]]:
        """Return the passages of each document as a tagger reads them."""
        return [list(of_words(document, most_words)) for document in self.documents]

    @property
    def provenance(self) -> dict[str, Any]:
        """The file as recorded beside the adapter."""
        return {"file": name_as_text(self.file.path), "sha256": self.sha256}


class Sample(NamedTuple):
    """A sentence to train on, and its origin as a message names it: `sentence 3 of a.conll`."""

    sentence: Sentence
    origin: str
    passage: bool = False
    """Whether it is several of a document, only to be read."""
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
    documents = labelled.documents()
    sentences = [*chain.from_iterable(documents)]
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
    return DataSet(file, documents, note, digest)


def samples_of(data: Sequence[DataSet], settings: TrainSettings) -> list[list[Sample]]:
    """Return what to train on, file by file: its sentences, then the copies of some of them that
    the settings ask for."""
    rng = Random(settings.seed)
    names = names_in(sentence for dataset in data for sentence in dataset.sentences)
    shares = {name: value for name, value in asdict(settings).items() if name in AUGMENTATIONS}
    samples = []
    for dataset in data:
        own = _originals(dataset, settings.passages, rng, named=len(data) > 1)
        changed = [
            own[i]._replace(sentence=copy, change=AUGMENTATIONS[name].done)
            for i, name, copy in copies([sample.sentence for sample in own], shares, names, rng)
        ]
        samples.append(own + changed)
        if Share(len(samples[-1]), dataset.file.weight).per_epoch == 0:
            raise UsageError(f"{dataset.file.path}: its weight leaves nothing of it; raise it")
    return samples


def _originals(dataset: DataSet, passages: float, rng: Random, *, named: bool) -> list[Sample]:
    """Return the sentences of a file, a share of them joined to `passages`."""
    of_file = f" of {dataset.file.path.name}" * named
    numbers = count(1)
    documents = [
        [Sample(sentence, f"sentence {next(numbers)}{of_file}") for sentence in document]
        for document in dataset.documents
    ]
    if not passages:
        return [*chain.from_iterable(documents)]
    samples = []
    for document in shuffled(documents, rng):
        start = 0
        for passage in cut([sample.sentence for sample in document], rng):
            alone = document[start : start + len(passage)]
            start += len(passage)
            if len(passage) > 1 and rng.random() < passages:
                origin = f"the passage that begins with {alone[0].origin}"
                samples.append(Sample(joined(passage), origin, passage=True))
            else:
                samples += alone
    return samples
