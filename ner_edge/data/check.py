"""Files of labelled sentences, looked over before they train or measure anything."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ner_edge.data.corpus import Labelled, Located
from ner_edge.data.labelled import scan_labelled
from ner_edge.data.readers.columns import Columns
from ner_edge.segment import MAX_WORDS

LEAK = 5.0
"""Percent of a file's entities that may stand in sentences of another file: headlines and table
heads recur in honest splits (1.8 % of CoNLL-2003's testa in its train)."""


@dataclass(frozen=True)
class Finding:
    """Something wrong in a file; `line` is None if it concerns the whole file."""

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.message}"


@dataclass(frozen=True)
class FileFacts:
    """The counts of one file; without `-DOCSTART-` lines, which are one token each."""

    path: Path
    format: str
    layout: str
    """How rows or records were read."""
    sentences: int
    docstart_lines: int
    tokens: int
    entities: int
    """Those of sentences that are not left out."""
    labels: dict[str, int]
    """Entities of each label, most frequent first."""
    longest: int
    """Words of the longest sentence."""
    repeated: int
    """Sentences that an earlier one of the file equals."""
    left_out: int
    """Sentences whose entities words cannot express, or that an annotator rejected."""
    account: str
    """What is left out, with reasons; empty if nothing is."""


@dataclass(frozen=True)
class Overlap:
    """Sentences of `second` that also stand in `first`."""

    first: Path
    second: Path
    sentences: int
    entities: int
    """Entities in those sentences."""
    percent: float
    """Their share of all entities of `second`."""


@dataclass(frozen=True)
class DataReport:
    """What `check_data` found."""

    files: list[FileFacts]
    overlaps: list[Overlap]
    problems: list[Finding]
    """They make training or evaluation wrong."""
    warnings: list[Finding]


def check_data(
    paths: Sequence[Path],
    *,
    labels: Collection[str] | None = None,
    fits: Callable[[list[str]], bool] | None = None,
    columns: Columns | None = None,
) -> DataReport:
    """Count, and look for what makes training or evaluation wrong.

    `labels` are those that the task knows; `fits` tells whether the context of a model holds a
    sentence; `columns` says where CoNLL has its words and tags. Raises `DataError` for a file that
    cannot be read.
    """
    files, problems, warnings = [], [], []
    sentences_of: list[list[Located]] = []
    for path in paths:
        labelled = scan_labelled(path, columns)
        sentences = [located for located in labelled.located if not located.sentence.is_docstart]
        sentences_of.append(sentences)
        facts = _facts(labelled, sentences)
        files.append(facts)
        problems += [Finding(path, *problem) for problem in labelled.illegal]
        problems += _empty(facts)
        problems += _unknown_labels(facts, labels)
        warnings += [Finding(path, *problem) for problem in labelled.doubtful]
        warnings += [
            Finding(path, line, f"{message}: left out") for line, message in labelled.left_out
        ]
        warnings += _labelled_twice(path, sentences)
        warnings += _literal_pipes(path, sentences)
        warnings += _too_long(path, sentences, fits)
        warnings += _similar_labels(facts)
    overlaps = []
    for first, second in combinations(range(len(paths)), 2):
        both = [
            overlap
            for a, b in ((first, second), (second, first))
            if (overlap := _overlap(paths[a], sentences_of[a], paths[b], sentences_of[b]))
        ]
        overlaps += both
        if both:
            larger = max(both, key=lambda overlap: overlap.percent)
            (problems if larger.percent > LEAK else warnings).append(_leak(larger))
    warnings += _missing_labels(files)
    return DataReport(files, overlaps, problems, warnings)


def _facts(labelled: Labelled, sentences: Sequence[Located]) -> FileFacts:
    lengths = [len(located.sentence.words) for located in sentences]
    labels = Counter(
        span.label
        for located in sentences
        for span in located.sentence.spans
        if not located.unusable
    )
    return FileFacts(
        path=labelled.path,
        format=labelled.format,
        layout=labelled.layout,
        sentences=len(sentences),
        docstart_lines=len(labelled.located) - len(sentences),
        tokens=sum(lengths),
        entities=labels.total(),
        labels=dict(labels.most_common()),
        longest=max(lengths, default=0),
        repeated=len(sentences) - len({tuple(located.sentence.words) for located in sentences}),
        left_out=sum(bool(located.unusable) for located in sentences),
        account=labelled.account(),
    )


def _empty(facts: FileFacts) -> list[Finding]:
    if not facts.sentences:
        return [Finding(facts.path, None, "holds no sentence")]
    if not facts.entities:
        return [Finding(facts.path, None, "holds no entity: nothing to learn or to measure")]
    return []


def _unknown_labels(facts: FileFacts, known: Collection[str] | None) -> list[Finding]:
    return [
        Finding(facts.path, None, f"{count} entities are {label}, which the task does not know")
        for label, count in facts.labels.items()
        if known is not None and label not in known
    ]


def _labelled_twice(path: Path, sentences: Sequence[Located]) -> list[Finding]:
    first: dict[tuple[str, ...], Located] = {}
    findings = []
    for located in sentences:
        earlier = first.setdefault(tuple(located.sentence.words), located)
        if earlier.sentence.spans != located.sentence.spans:
            message = f"same sentence as line {earlier.line}, labelled differently"
            findings.append(Finding(path, located.line, message))
    return findings


def _literal_pipes(path: Path, sentences: Sequence[Located]) -> list[Finding]:
    return [
        Finding(path, line, "an entity holds the word '|': no model here can find it")
        for sentence, line, _ in sentences
        if any("|" in sentence.words[span.start : span.end] for span in sentence.spans)
    ]


def _too_long(
    path: Path, sentences: Sequence[Located], fits: Callable[[list[str]], bool] | None
) -> list[Finding]:
    if fits is not None:
        return [
            Finding(path, line, "too long for the model's context: it would be split")
            for sentence, line, _ in sentences
            if not fits(sentence.words)
        ]
    return [
        Finding(path, line, f"{len(sentence.words)} words; `tag` cuts raw text after {MAX_WORDS}")
        for sentence, line, _ in sentences
        if len(sentence.words) > MAX_WORDS
    ]


def _similar_labels(facts: FileFacts) -> list[Finding]:
    spellings: dict[str, list[str]] = {}
    for label in facts.labels:
        spellings.setdefault(label.casefold(), []).append(label)
    return [
        Finding(facts.path, None, f"labels that differ in case only: {', '.join(same)}")
        for same in spellings.values()
        if len(same) > 1
    ]


def _missing_labels(files: Sequence[FileFacts]) -> list[Finding]:
    every = {label for facts in files for label in facts.labels}
    return [
        Finding(facts.path, None, f"holds no {', '.join(missing)}, which another file does")
        for facts in files
        if facts.entities and (missing := sorted(every - set(facts.labels)))
    ]


def _overlap(
    first: Path, known: Sequence[Located], second: Path, sentences: Sequence[Located]
) -> Overlap | None:
    seen = {tuple(located.sentence.words) for located in known}
    shared = [located for located in sentences if tuple(located.sentence.words) in seen]
    entities = sum(len(located.sentence.spans) for located in shared)
    every = sum(len(located.sentence.spans) for located in sentences)
    if not shared:
        return None
    return Overlap(first, second, len(shared), entities, 100 * entities / max(1, every))


def _leak(overlap: Overlap) -> Finding:
    message = (
        f"{overlap.sentences} sentences, with {overlap.percent:.1f} % of the entities, "
        f"also stand in {overlap.first}"
    )
    return Finding(overlap.second, None, message)
