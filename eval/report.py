"""The evaluation's tables on a terminal, in Markdown, and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import compress
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ner_edge.eval.agreement import SENTENCES, Agreement
from ner_edge.eval.bootstrap import EQUIVALENT
from ner_edge.eval.compare import Comparison
from ner_edge.eval.cost import Cost
from ner_edge.eval.evaluate import ModelResult
from ner_edge.eval.metrics import Score
from ner_edge.eval.published import published
from ner_edge.files.atomic import write_text

_QUOTED = "(quoted, not measured)"
_NAMES = 22  # characters that a terminal keeps for the first column and the edges


class Table(NamedTuple):
    """Cells as shown: the first column is text, the others are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(comparison: Comparison) -> list[Table]:
    """Two tables per model, then those over all models, as in the published model cards."""
    per_model = [table for result in comparison.results for table in model_tables(result)]
    return [*per_model, *summaries(comparison)]


def model_tables(result: ModelResult) -> list[Table]:
    """One model's scores by seqeval and by nervaluate."""
    return [_seqeval_table(result), _nervaluate_table(result)]


def summaries(comparison: Comparison) -> list[Table]:
    """All models beside each other, and what unconstrained decoding did if one used it."""
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
    columns = ["Model", "Size (MB)", "Bits/weight", "F1"]
    if comparison.baseline is not None:
        columns += ["ΔF1 [95 % CI]", "Flips"]
    agreements = any(result.agreement for result in comparison.results)
    if agreements:
        columns += ["KL (mnat)", "Same (%)"]
    columns.append("ECE (%)")
    costs = any(result.cost for result in comparison.results)
    if costs:
        columns += ["Peak memory (MB)", "Prompt tokens/s"]
    columns.append("Sentences/s")
    rows = []
    for result in comparison.results:
        size = result.size_bytes
        row = [
            result.name,
            _known(None if size is None else size / 1e6, 1),
            _known(result.bits_per_weight),
            f"{result.f1:.2f}",
        ]
        if comparison.baseline is not None:
            row += _difference_cells(comparison, result.name)
        if agreements:
            row += _agreement_cells(result.agreement)
        error = None if result.calibration is None else result.calibration.expected_error
        row.append(_known(error))
        if costs:
            row += _cost_cells(result.cost)
        rows.append([*row, _known(result.sentences_per_second)])
    known = [any(cell != "-" for cell in cells) for cells in zip(*rows, strict=True)]
    columns, *rows = (list(compress(row, known)) for row in (columns, *rows))
    return Table("Comparison", columns, rows + _quoted_rows(comparison, columns))


def _agreement_cells(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return ["-", "-"]
    return [f"{1000 * agreement.mean_kl:.2f}", f"{agreement.same_branch:.2f}"]


def _cost_cells(cost: Cost | None) -> list[str]:
    if cost is None:
        return ["-", "-"]
    peak = "-" if cost.peak_bytes is None else f"{cost.peak_bytes / 1e6:.0f}"
    return [peak, f"{cost.prompt_tokens_per_second:.0f}"]


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
    """Published results on this data, of which only F1 belongs in these columns."""
    rows = []
    for row in published(comparison.gold):
        known = {"Model": f"{row.model} {_QUOTED}", "F1": f"{row.f1:.2f}"}
        rows.append([known.get(column, "-") for column in columns])
    return rows


def _known(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _difference_cells(comparison: Comparison, name: str) -> list[str]:
    if name == comparison.baseline:
        return ["baseline", "-"]
    difference = comparison.differences[name]
    interval = f"[{difference.ci_low:+.2f}, {difference.ci_high:+.2f}]"
    return [f"{difference.delta_f1:+.2f} {interval}", str(difference.flips)]


def footnotes(comparison: Comparison) -> list[str]:
    """How the sentences were counted and how the tables were made."""
    decoders = sorted({result.decoder for result in comparison.results if result.decoder})
    decoding = f"; decoder: {', '.join(decoders)}" if decoders else ""
    lines = [
        f"{comparison.gold.path.name}: {comparison.gold.describe()}{decoding}.",
    ]
    if any(result.calibration for result in comparison.results):
        lines.append(
            "ECE: expected calibration error of the entities' scores, in percentage points."
        )
    if comparison.baseline is not None:
        lines.append(
            f"ΔF1 in percentage points against {comparison.baseline}, on the same sentences, "
            "with a paired bootstrap interval; flips: sentences whose entities changed."
        )
        lines.append(f"Verdicts (equivalent: within ±{EQUIVALENT}): {_verdicts(comparison)}.")
    if any(result.agreement for result in comparison.results):
        lines.append(
            "KL: mean divergence of a decision from the baseline's, in thousandths of a nat; same: "
            f"decisions with the same likeliest branch; both on at most {SENTENCES} sentences."
        )
    if any(result.cost for result in comparison.results):
        lines.append(
            "Peak memory: of a process that loads the model and tags a few sentences, without what "
            "a GPU holds. Prompt tokens/s: 512 read at once."
        )
    timed = [result for result in comparison.results if result.seconds is not None]
    if hardware := sorted({result.hardware for result in timed if result.hardware}):
        lines.append(f"Sentences/s: with {' or '.join(hardware)}.")
    if any(result.faults for result in comparison.results):
        lines.append(
            "Lenient F1: where an output's words are not the sentence's, entities count by label "
            "and text, wherever they stand. Verbatim: outputs whose words are the sentence's. "
            "Malformed: a bracket is not closed with a known label. Misaligned: malformed or not "
            "verbatim. The decoders copy and grammar can produce neither."
        )
    lines += [
        f"{row.model} {_QUOTED}: strict micro F1 on {row.data}, {row.source}."
        for row in published(comparison.gold)
    ]
    return lines


def _verdicts(comparison: Comparison) -> str:
    names: dict[str, list[str]] = {}
    for name, difference in comparison.differences.items():
        if difference.verdict is not None:
            names.setdefault(difference.verdict, []).append(name)
    return "; ".join(f"{verdict}: {', '.join(models)}" for verdict, models in names.items())


def print_report(comparison: Comparison, console: Console) -> None:
    """Show all tables and the footnotes on a terminal."""
    for table in tables(comparison):
        for title, columns, rows in _fitted(table, console.width):
            # Text, because a label or file name in square brackets is not markup.
            shown = RichTable(
                title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
            )
            shown.add_column(Text(columns[0]), overflow="fold")
            for column in columns[1:]:
                shown.add_column(Text(_header(column)), justify="right", no_wrap=True)
            for row in rows:
                shown.add_row(*map(Text, row))
            console.print(shown)
    for line in footnotes(comparison):
        console.print(line, markup=False, highlight=False)


def _header(column: str) -> str:
    """In two lines, so that more numbers fit."""
    return column.replace("/", "\n/").replace(" (", "\n(").replace(" [", "\n[")


def _fitted(table: Table, width: int) -> Iterator[Table]:
    """A table too wide for the terminal in several, each with the first column."""
    widths = [
        1 + max(map(len, (*_header(column).split("\n"), *cells)))
        for column, *cells in zip(table.columns, *table.rows, strict=True)
    ]
    groups: list[list[int]] = []
    for i in range(1, len(widths)):
        if not groups or sum(widths[j] for j in (*groups[-1], i)) > width - _NAMES:
            groups.append([])
        groups[-1].append(i)
    for number, group in enumerate(groups):
        title = f"{table.title}, continued" if number else table.title
        columns, *rows = ([row[i] for i in (0, *group)] for row in (table.columns, *table.rows))
        yield Table(title, columns, rows)


def markdown(comparison: Comparison) -> str:
    """All tables and footnotes as GitHub Markdown, ending in a newline."""
    blocks = []
    for title, columns, rows in tables(comparison):
        rule = ["---", *["---:"] * (len(columns) - 1)]
        lines = ["| " + " | ".join(map(_cell, cells)) + " |" for cells in (columns, rule, *rows)]
        blocks.append("\n".join([f"**{title}**", "", *lines]))
    return "\n\n".join([*blocks, *footnotes(comparison)]) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Every number of the tables, unrounded: scores in percent, ΔF1 in percentage points."""
    gold = comparison.gold
    report: dict[str, Any] = {
        "data": str(gold.path),
        "sentences": len(gold.sentences),
        "docstart_lines": gold.docstart_lines,
        "tokens": gold.tokens,
        "entities": gold.entities,
        "baseline": comparison.baseline,
        "published": [asdict(row) for row in published(gold)],
        "models": [],
    }
    for result in comparison.results:
        model: dict[str, Any] = {
            "name": result.name,
            "path": str(result.path),
            "decoder": result.decoder,
            "f1": result.f1,
            "size_bytes": result.size_bytes,
            "bits_per_weight": result.bits_per_weight,
            "sentences_per_second": result.sentences_per_second,
            "seconds": result.seconds,
            "hardware": result.hardware,
            "misaligned": result.misaligned,
            "faults": asdict(result.faults) if result.faults else None,
            "calibration": asdict(result.calibration) if result.calibration else None,
            "cost": asdict(result.cost) if result.cost else None,
            "agreement": asdict(result.agreement) if result.agreement else None,
            **asdict(result.metrics),
        }
        difference = comparison.differences.get(result.name)
        if difference is not None:
            model["delta_f1"] = difference.delta_f1
            model["delta_f1_ci"] = [difference.ci_low, difference.ci_high]
            model["flips"] = difference.flips
            model["verdict"] = difference.verdict
            model["delta_f1_per_label"] = difference.per_label
        report["models"].append(model)
    return report


def write_json(comparison: Comparison, target: str) -> None:
    """Write `to_json` to a file, which appears whole or not at all, or to stdout for `-`."""
    write_text(json.dumps(to_json(comparison), ensure_ascii=False, indent=2) + "\n", target)
