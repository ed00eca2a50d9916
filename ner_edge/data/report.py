"""Print the report of `check_data` on a terminal, or as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ner_edge.data.check import DataReport, FileSummary
from ner_edge.terminal.counts import counted, grouped
from ner_edge.terminal.streams import printable

_SHOWN = 50
"""The most findings of one kind that a terminal shows."""


def print_data_report(report: DataReport, console: Console) -> None:
    """Print a table of counts with a column for each file, then the problems and warnings."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for file in report.files:
        # Text, since square brackets in a file's name are not markup.
        table.add_column(Text(file.path.name), justify="right", overflow="fold")
    labels = sorted({label for file in report.files for label in file.labels})
    for name, cells in _rows(report.files, labels):
        table.add_row(Text(name), *map(Text, cells))
    console.print(table)
    for kind, findings in (("problem", report.problems), ("warning", report.warnings)):
        for finding in findings[:_SHOWN]:
            _say(console, f"{kind}: {finding}")
        if len(findings) > _SHOWN:
            _say(console, f"{kind}: {len(findings) - _SHOWN} more; --json lists all")
    counts = [_count(len(report.problems), "problem"), _count(len(report.warnings), "warning")]
    for file in report.files:
        if file.account:
            where = f"{file.path}: " if len(report.files) > 1 else ""
            counts.append(where + file.account)
    _say(console, ", ".join(counts))


def _rows(files: Sequence[FileSummary], labels: Sequence[str]) -> list[tuple[str, list[str]]]:
    rows = [
        ("Format", [file.format for file in files]),
        ("Read as", [file.layout for file in files]),
        ("Sentences", [grouped(file.sentences) for file in files]),
    ]
    if any(file.docstart_lines for file in files):
        rows.append(
            (
                "  with -DOCSTART-",
                [grouped(file.sentences + file.docstart_lines) for file in files],
            )
        )
    rows.append(("Tokens", [grouped(file.tokens) for file in files]))
    if any(file.docstart_lines for file in files):
        rows.append(
            ("  with -DOCSTART-", [grouped(file.tokens + file.docstart_lines) for file in files])
        )
    rows.append(("Entities", [grouped(file.entities) for file in files]))
    rows += [
        (f"  {label}", [grouped(file.labels.get(label, 0)) for file in files]) for label in labels
    ]
    rows.append(("Longest sentence", [counted(file.longest, "word") for file in files]))
    rows.append(("Repeated sentences", [grouped(file.repeated) for file in files]))
    if any(file.left_out for file in files):
        rows.append(("Sentences left out", [grouped(file.left_out) for file in files]))
    return rows


def _say(console: Console, text: str) -> None:
    line = printable(text, keep="")
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _count(number: int, noun: str) -> str:
    return counted(number, noun) if number else f"no {noun}s"


def to_json(report: DataReport) -> str:
    """Return everything; a finding is an object with `path`, `line` (or null) and `message`."""
    return json.dumps(_plain(asdict(report)), ensure_ascii=False, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | None) else str(value)
