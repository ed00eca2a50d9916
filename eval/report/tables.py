"""The report's tables: each model's scores, then all models side by side."""

from typing import NamedTuple

from ner_edge.eval.agreement import Agreement
from ner_edge.eval.comparison import Comparison
from ner_edge.eval.cost import Cost
from ner_edge.eval.metrics import Score
from ner_edge.eval.report.published import QUOTED, published
from ner_edge.eval.result import ModelResult

DELTA_F1 = "ΔF1 [95 % CI]"
UNKNOWN = "-"


class Table(NamedTuple):
    """Cells as shown: text in the first column, numbers in the others."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(comparison: Comparison) -> list[Table]:
    """Return two tables per model, then the summaries, laid out as in the published model cards."""
    per_model = [table for result in comparison.results for table in model_tables(result)]
    return [*per_model, *summaries(comparison)]


def model_tables(result: ModelResult) -> list[Table]:
    """Return one model's scores by seqeval and by nervaluate."""
    return [_seqeval_table(result), _nervaluate_table(result)]


def summaries(comparison: Comparison) -> list[Table]:
    """Return all models side by side; after unconstrained decoding, also the faults of outputs."""
    unconstrained = any(result.faults for result in comparison.results)
    faults = [_faults_table(comparison)] if unconstrained else []
    return [_comparison_table(comparison), *faults]


def _seqeval_table(result: ModelResult) -> Table:
    scores = {**result.metrics.per_label, "micro avg": result.metrics.micro}
    return Table(
        f"{result.name}: seqeval, strict, IOB2 (%)",
        ["Entity", "Precision", "Recall", "F1", "Support"],
        [[label, *_percentages(score), str(score.support)] for label, score in scores.items()],
    )


def _nervaluate_table(result: ModelResult) -> Table:
    return Table(
        f"{result.name}: nervaluate (%)",
        ["Scenario", "Precision", "Recall", "F1"],
        [[name, *_percentages(score)] for name, score in result.metrics.nervaluate.items()],
    )


def _percentages(score: Score) -> list[str]:
    return [f"{value:.2f}" for value in (score.precision, score.recall, score.f1)]


def _comparison_table(comparison: Comparison) -> Table:
    cells = [_comparison_cells(comparison, result) for result in comparison.results]
    columns = [name for name in cells[0] if any(row[name] != UNKNOWN for row in cells)]
    rows = [[row[name] for name in columns] for row in cells]
    return Table("Comparison", columns, rows + _quoted_rows(comparison, columns))


def _comparison_cells(comparison: Comparison, result: ModelResult) -> dict[str, str]:
    calibration = result.calibration
    return {
        "Model": result.name,
        "Size (MB)": _megabytes(result.size_bytes, 1),
        "Bits/weight": _cell(result.bits_per_weight),
        "F1": _cell(result.f1),
        **_difference_cells(comparison, result.name),
        **_agreement_cells(result.agreement),
        "ECE (%)": UNKNOWN if calibration is None else _cell(calibration.expected_error),
        **_cost_cells(result.cost),
        "Sentences/s": _cell(result.sentences_per_second),
    }


def _cell(value: float | None, digits: int = 2) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _megabytes(size: int | None, digits: int) -> str:
    return UNKNOWN if size is None else _cell(size / 1e6, digits)


def _difference_cells(comparison: Comparison, name: str) -> dict[str, str]:
    difference = comparison.differences.get(name)
    if difference is None:
        return {DELTA_F1: UNKNOWN, "Flips": UNKNOWN}
    if name == comparison.baseline:
        return {DELTA_F1: "baseline", "Flips": UNKNOWN}
    interval = f"[{difference.ci_low:+.2f}, {difference.ci_high:+.2f}]"
    return {DELTA_F1: f"{difference.delta_f1:+.2f} {interval}", "Flips": str(difference.flips)}


def _agreement_cells(agreement: Agreement | None) -> dict[str, str]:
    return {
        "KL (mnat)": UNKNOWN if agreement is None else _cell(1000 * agreement.mean_kl),
        "Same (%)": UNKNOWN if agreement is None else _cell(agreement.same_branch),
    }


def _cost_cells(cost: Cost | None) -> dict[str, str]:
    return {
        "Peak memory (MB)": UNKNOWN if cost is None else _megabytes(cost.peak_bytes, 0),
        "Prompt tokens/s": UNKNOWN if cost is None else _cell(cost.prompt_tokens_per_second, 0),
    }


def _faults_table(comparison: Comparison) -> Table:
    columns = ["Model", "F1", "Lenient F1", "Verbatim (%)", "Malformed", "Misaligned"]
    rows = []
    for result in comparison.results:
        lenient, verbatim, malformed = result.f1, 100.0, 0
        if result.faults:
            lenient, malformed = result.faults.lenient.f1, result.faults.malformed
            verbatim = 100 * result.faults.verbatim / len(result.predictions)
        figures = [f"{figure:.2f}" for figure in (result.f1, lenient, verbatim)]
        rows.append([result.name, *figures, str(malformed), str(result.misaligned)])
    return Table("Output", columns, rows + _quoted_rows(comparison, columns))


def _quoted_rows(comparison: Comparison, columns: list[str]) -> list[list[str]]:
    """Published results on the same data, of which only F1 is comparable."""
    rows = []
    for row in published(comparison.gold):
        known = {"Model": f"{row.model} {QUOTED}", "F1": f"{row.f1:.2f}"}
        rows.append([known.get(column, UNKNOWN) for column in columns])
    return rows
