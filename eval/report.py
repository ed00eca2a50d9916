"""The evaluation's tables on a terminal, in Markdown, and as JSON."""

import json
from dataclasses import asdict
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ner_edge.atomic import write_text
from ner_edge.eval.bootstrap import EQUIVALENT
from ner_edge.eval.compare import Comparison, ModelResult
from ner_edge.eval.metrics import Score


class Table(NamedTuple):
    """Cells as shown: the first column is text, the others are numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def tables(comparison: Comparison) -> list[Table]:
    """Two tables per model, then the comparison, as in the published model cards."""
    per_model = [
        table
        for result in comparison.results
        for table in (_seqeval_table(result), _nervaluate_table(result))
    ]
    return [*per_model, _comparison_table(comparison)]


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
    columns += ["ECE (%)", "Sentences/s"]
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
        error = None if result.calibration is None else result.calibration.expected_error
        rows.append([*row, _known(error), _known(result.sentences_per_second)])
    return Table("Comparison", columns, rows)


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
    return lines


def _verdicts(comparison: Comparison) -> str:
    names: dict[str, list[str]] = {}
    for name, difference in comparison.differences.items():
        if difference.verdict is not None:
            names.setdefault(difference.verdict, []).append(name)
    return "; ".join(f"{verdict}: {', '.join(models)}" for verdict, models in names.items())


def print_report(comparison: Comparison, console: Console) -> None:
    """Show all tables and the footnotes on a terminal."""
    for title, columns, rows in tables(comparison):
        # Text, because a label or file name in square brackets is not markup.
        shown = RichTable(
            title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        shown.add_column(Text(columns[0]), overflow="fold")
        for column in columns[1:]:
            # Headers in two lines, so that all numbers fit in 80 characters.
            header = column.replace("/", "\n/").replace(" (", "\n(").replace(" [", "\n[")
            shown.add_column(Text(header), justify="right", no_wrap=True)
        for row in rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
    for line in footnotes(comparison):
        console.print(line, markup=False, highlight=False)


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
            "misaligned": result.misaligned,
            "calibration": None if result.calibration is None else asdict(result.calibration),
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
