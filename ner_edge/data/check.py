"""Check files of labelled sentences before they train or test a model."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from ner_edge.data.corpus import Labelled, Located
from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import scan_labelled
from ner_edge.segment import MAX_WORDS
from ner_edge.terminal.counts import counted

LEAK = 5.0
"""The percentage of a file's entities that may be in sentences of another file. Headlines and table
heads recur even in honest splits: 1.8 % of the entities of CoNLL-2003's testa are in its train."""


@dataclass(frozen=True)
class Finding:
    """Something wrong in a file; `line` is None if it concerns the file as a whole."""

    path: Path
    line: int | None
    message: str

    def __str__(self) -> str:
        return f"{self.path}{'' if self.line is None else f':{self.line}'}: {self.message}"


@dataclass(frozen=True)
class FileSummary:
    """The counts of one file, without its `-DOCSTART-` lines, which are one token each."""

    path: Path
    format: str
    layout: str
    """How rows or records were read."""
    sentences: int
    docstart_lines: int
    tokens: int
    entities: int
    """In the sentences that are not left out."""
    labels: dict[str, int]
    """Number of entities of each label, most frequent first."""
    longest: int
    """Words of the longest sentence."""
    repeated: int
    """Sentences equal to an earlier one of the file."""
    left_out: int
    """Sentences whose entities do not match word boundaries, or that an annotator rejected."""
    account: str
    """The numbers of sentences and entities left out, with reasons; empty if there are none."""


@dataclass(frozen=True)
class Overlap:
    """Sentences of `second` that are in `first`, too."""

    first: Path
    second: Path
    sentences: int
    entities: int
    """Entities in those sentences."""
    percent: float
    """Their share of the entities of `second`."""


@dataclass(frozen=True)
class DataReport:
    """The result of `check_data`."""

    files: list[FileSummary]
    overlaps: list[Overlap]
    problems: list[Finding]
    """Findings that would spoil training or evaluation."""
    warnings: list[Finding]


def check_data(
    paths: Sequence[Path],
    *,
    labels: Collection[str] | None = None,
    fits: Callable[[list[str]], bool] | None = None,
    columns: Sequence[Columns | None] | None = None,
) -> DataReport:
    """Count sentences and entities, and find problems that would spoil training or evaluation.

    `labels` are those of the task; `fits` tells whether a sentence fits the context of a model;
    `columns` locate word and tag in each of the files. Raises `DataError` for an unreadable file.
    """
    report = DataReport([], [], [], [])
    sentences_of: list[list[Located]] = []
    for path, chosen in zip(paths, columns or [None] * len(paths), strict=True):
        labelled = scan_labelled(path, chosen)
        sentences = [located for located in labelled.located if not located.sentence.is_docstart]
        sentences_of.append(sentences)
        summary = _summary(labelled, sentences)
        report.files.append(summary)
        report.problems.extend(_problems(labelled, summary, labels))
        report.warnings.extend(_warnings(labelled, summary, sentences, fits))
    for first, second in combinations(range(len(paths)), 2):
        both = [
            overlap
            for a, b in ((first, second), (second, first))
            if (overlap := _overlap(paths[a], sentences_of[a], paths[b], sentences_of[b]))
        ]
        report.overlaps.extend(both)
        if both:
            larger = max(both, key=lambda overlap: overlap.percent)
            findings = report.problems if larger.percent > LEAK else report.warnings
            findings.append(_leak(larger))
    report.warnings.extend(_missing_labels(report.files))
    return report


def _problems(
    labelled: Labelled, summary: FileSummary, labels: Collection[str] | None
) -> list[Finding]:
    illegal = [Finding(labelled.path, *problem) for problem in labelled.illegal]
    return illegal + _empty(summary) + _unknown_labels(summary, labels)


def _warnings(
    labelled: Labelled,
    summary: FileSummary,
    sentences: Sequence[Located],
    fits: Callable[[list[str]], bool] | None,
) -> list[Finding]:
    path = labelled.path
    return [
        *(Finding(path, *problem) for problem in labelled.doubtful),
        *(Finding(path, line, f"{message}: left out") for line, message in labelled.left_out),
        *_labelled_twice(path, sentences),
        *_literal_pipes(path, sentences),
        *_too_long(path, sentences, fits),
        *_similar_labels(summary),
    ]


def _summary(labelled: Labelled, sentences: Sequence[Located]) -> FileSummary:
    lengths = [len(located.sentence.words) for located in sentences]
    labels = Counter(
        span.label
        for located in sentences
        for span in located.sentence.spans
        if not located.unusable
    )
    return FileSummary(
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


def _empty(summary: FileSummary) -> list[Finding]:
    if not summary.sentences:
        return [Finding(summary.path, None, "contains no sentences")]
    if not summary.entities:
        message = "contains no entities, so there is nothing to learn or measure"
        return [Finding(summary.path, None, message)]
    return []


def _unknown_labels(summary: FileSummary, known: Collection[str] | None) -> list[Finding]:
    return [
        Finding(
            summary.path,
            None,
            f"{counted(count, 'entity')} of label {label}, which the task does not have",
        )
        for label, count in summary.labels.items()
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
        Finding(path, line, "an entity contains the word '|', so no model can find it")
        for sentence, line, *_ in sentences
        if any("|" in sentence.words[span.start : span.end] for span in sentence.spans)
    ]


def _too_long(
    path: Path, sentences: Sequence[Located], fits: Callable[[list[str]], bool] | None
) -> list[Finding]:
    if fits is not None:
        return [
            Finding(path, line, "too long for the model's context: it would be split")
            for sentence, line, *_ in sentences
            if not fits(sentence.words)
        ]
    return [
        Finding(path, line, f"{len(sentence.words)} words; `tag` splits raw text after {MAX_WORDS}")
        for sentence, line, *_ in sentences
        if len(sentence.words) > MAX_WORDS
    ]


def _similar_labels(summary: FileSummary) -> list[Finding]:
    spellings: dict[str, list[str]] = {}
    for label in summary.labels:
        spellings.setdefault(label.casefold(), []).append(label)
    return [
        Finding(summary.path, None, f"labels that differ in case only: {', '.join(same)}")
        for same in spellings.values()
        if len(same) > 1
    ]


def _missing_labels(files: Sequence[FileSummary]) -> list[Finding]:
    every = {label for summary in files for label in summary.labels}
    return [
        Finding(summary.path, None, f"contains no {', '.join(missing)}, which another file does")
        for summary in files
        if summary.entities and (missing := sorted(every - set(summary.labels)))
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
        f"{counted(overlap.sentences, 'sentence')}, with {overlap.percent:.1f} % of the entities, "
        f"also in {overlap.first}"
    )
    return Finding(overlap.second, None, message)
