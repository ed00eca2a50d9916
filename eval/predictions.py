"""Predictions that any tool wrote to a file, measured like a model's."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ner_edge.data.documents import Document
from ner_edge.data.labelled import read_documents
from ner_edge.data.readers.columns import Columns
from ner_edge.errors import DataError
from ner_edge.eval.align import Aligned, align
from ner_edge.eval.calibration import calibration
from ner_edge.eval.compare import (
    Comparison,
    find_baseline,
    set_beside,
    unique_names,
)
from ner_edge.eval.evaluate import ModelResult
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.eval.metrics import require_libraries, score_spans
from ner_edge.spans import ScoredSpan


def compare_files(
    gold_file: Path,
    files: Sequence[Path],
    *,
    baseline: str | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Columns | None = None,
) -> Comparison:
    """Measure files of predictions for the text of `gold_file`, and set them beside `baseline`: a
    file or its name without ending, by default the first.

    They hold any of the formats of labelled data. `labels` renames their labels; an empty new name
    leaves entities out. `columns` says where the gold has its words and tags. Raises `DataError`
    where a text is not the gold's, `UsageError` for a baseline that is not there.
    """
    require_libraries()
    gold = read_gold(gold_file, columns=columns)
    stems = [path.stem for path in files]
    told_apart = len(set(stems)) == len(stems)
    names = unique_names(stems if told_apart else [path.name for path in files])
    reference = find_baseline(baseline, list(zip(names, files, strict=True)))
    results = [
        file_result(name, path, gold, labels or {}) for name, path in zip(names, files, strict=True)
    ]
    return set_beside(results, gold, reference)


def file_result(name: str, path: Path, gold: Gold, labels: Mapping[str, str]) -> ModelResult:
    """The scores of one file of predictions; nothing is known of its model's size and speed."""
    documents, layout = read_documents(path)
    if not documents:
        raise DataError(f"{path}: holds no predictions")
    documents = _renamed(documents, labels)
    used, words = zip(*gold.all_words(), strict=True)
    aligned = align(documents, words, path)
    _check_labels(documents, gold, path)
    found = [spans for spans, is_used in zip(aligned.spans, used, strict=True) if is_used]
    predictions = [[span for span, _ in spans] for spans in found]
    scored = [
        [ScoredSpan(*span, score) for span, score in spans if score is not None] for spans in found
    ]
    has_scores = any(scored) and sum(map(len, scored)) == sum(map(len, predictions))
    return ModelResult(
        name=name,
        path=path,
        decoder=None,
        metrics=score_spans(gold.spans, predictions, gold.lengths),
        predictions=predictions,
        calibration=calibration(gold.spans, scored) if has_scores else None,
        size_bytes=None,
        bits_per_weight=None,
        seconds=None,
        notes=[f"{name}: {layout}"] * bool(layout)
        + _notes(name, gold, aligned, {span.label for spans in predictions for span in spans}),
    )


def _renamed(documents: Sequence[Document], labels: Mapping[str, str]) -> list[Document]:
    return [
        document._replace(
            spans=[
                mark._replace(label=label)
                for mark in document.spans
                if (label := labels.get(mark.label, mark.label))
            ]
        )
        for document in documents
    ]


def _check_labels(documents: Sequence[Document], gold: Gold, path: Path) -> None:
    labels = {mark.label for document in documents for mark in document.spans}
    if labels and gold.labels and not labels & gold.labels:
        raise DataError(
            f"{path}: none of its labels ({', '.join(sorted(labels))}) is one of {gold.path}'s "
            f"({', '.join(sorted(gold.labels))}); --map OLD=NEW renames"
        )


def _notes(name: str, gold: Gold, aligned: Aligned, labels: set[str]) -> list[str]:
    notes = []
    foreign = sorted(labels - gold.labels)
    if foreign:
        notes.append(
            f"{name}: {', '.join(foreign)} are not labels of {gold.path}, so these entities count "
            "as wrong; --map OLD=NEW renames, --map OLD= leaves out"
        )
    if aligned.widened:
        notes.append(
            f"{name}: {aligned.widened} entities do not begin and end with the gold's words; they "
            "were widened to whole words of one sentence"
        )
    if aligned.overlapping:
        notes.append(
            f"{name}: {aligned.overlapping} entities overlap a more probable or longer one and "
            "were dropped"
        )
    return notes
