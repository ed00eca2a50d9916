"""Score predictions that any tool wrote to a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ner_edge.data.documents import Document
from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import read_documents
from ner_edge.errors import DataError
from ner_edge.eval.align import Aligned, align
from ner_edge.eval.calibration import Calibration, calibration
from ner_edge.eval.comparison import Comparison, compare_results, find_baseline, unique_names
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.eval.metrics import require_libraries, score_spans
from ner_edge.eval.result import ModelResult
from ner_edge.spans import ScoredSpan, Span
from ner_edge.terminal.counts import counted


def compare_files(
    gold_file: Path,
    files: Sequence[Path],
    *,
    baseline: str | None = None,
    labels: Mapping[str, str] | None = None,
    columns: Columns | None = None,
) -> Comparison:
    """Score files of predictions for the text of `gold_file`, and compare them with `baseline`: a
    file or its name without extension, by default the first.

    The files have any of the formats of labelled data. `labels` renames their labels; an empty new
    name drops the entities. `columns` are those of word and tag in the gold. Raises `DataError` if
    a text differs from the gold, `UsageError` if there is no such baseline.
    """
    require_libraries()
    gold = read_gold(gold_file, columns=columns)
    stems = [path.stem for path in files]
    are_unique = len(set(stems)) == len(stems)
    names = unique_names(stems if are_unique else [path.name for path in files])
    reference = find_baseline(baseline, list(zip(names, files, strict=True)))
    results = [
        file_result(name, path, gold, labels or {}) for name, path in zip(names, files, strict=True)
    ]
    return compare_results(results, gold, reference)


def file_result(name: str, path: Path, gold: Gold, labels: Mapping[str, str]) -> ModelResult:
    """Score one file of predictions; the size and speed of its model are unknown."""
    documents, layout = read_documents(path)
    if not documents:
        raise DataError(f"{path}: contains no predictions")
    documents = _renamed(documents, labels)
    used, words = zip(*gold.all_words(), strict=True)
    aligned = align(documents, words, path)
    _check_labels(documents, gold, path)
    found = [spans for spans, is_used in zip(aligned.spans, used, strict=True) if is_used]
    predictions = [[span for span, _ in spans] for spans in found]
    return ModelResult(
        name=name,
        path=path,
        metrics=score_spans(gold.spans, predictions, gold.lengths),
        predictions=predictions,
        notes=[f"{name}: {layout}"] * bool(layout)
        + _notes(name, gold, aligned, {span.label for spans in predictions for span in spans}),
        calibration=_calibration(found, gold),
    )


def _calibration(
    found: Sequence[Sequence[tuple[Span, float | None]]], gold: Gold
) -> Calibration | None:
    scored = [
        [ScoredSpan(*span, score) for span, score in spans if score is not None] for spans in found
    ]
    has_scores = any(scored) and sum(map(len, scored)) == sum(map(len, found))
    return calibration(gold.spans, scored) if has_scores else None


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
            f"{path}: none of its labels ({', '.join(sorted(labels))}) is in {gold.path} "
            f"({', '.join(sorted(gold.labels))}); rename them with --map OLD=NEW"
        )


def _notes(name: str, gold: Gold, aligned: Aligned, labels: set[str]) -> list[str]:
    notes = []
    foreign = sorted(labels - gold.labels)
    if foreign:
        notes.append(
            f"{name}: entities labelled {', '.join(foreign)} count as wrong, because {gold.path} "
            "has no such label; rename it with --map OLD=NEW, or drop it with --map OLD="
        )
    if aligned.widened:
        notes.append(
            f"{name}: widened {counted(aligned.widened, 'entity')} to whole words of one sentence, "
            "as in the gold"
        )
    if aligned.overlapping:
        notes.append(
            f"{name}: dropped {counted(aligned.overlapping, 'entity')} that a more probable or "
            "longer one overlaps"
        )
    return notes
