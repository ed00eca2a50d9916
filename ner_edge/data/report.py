"""What a check of labelled files found, on a terminal and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ner_edge.data.check import DataReport, FileFacts
from ner_edge.terminal.streams import printable

_SHOWN = 50
"""Findings of one kind that a terminal shows."""


def print_data_report(report: DataReport, console: Console) -> None:
    """A table of counts, one column for each file, then problems and warnings with their lines."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("")
    for facts in report.files:
        # Text, because a file's name in square brackets is not markup.
        table.add_column(Text(facts.path.name), justify="right", overflow="fold")
    labels = sorted({label for facts in report.files for label in facts.labels})
    for name, cells in _rows(report.files, labels):
        table.add_row(Text(name), *map(Text, cells))
    console.print(table)
    for kind, findings in (("problem", report.problems), ("warning", report.warnings)):
        for finding in findings[:_SHOWN]:
            _say(console, f"{kind}: {finding}")
        if len(findings) > _SHOWN:
            _say(console, f"{kind}: {len(findings) - _SHOWN} more; --json lists all")
    counts = [_counted(len(report.problems), "problem"), _counted(len(report.warnings), "warning")]
    for facts in report.files:
        if facts.account:
            where = f"{facts.path}: " if len(report.files) > 1 else ""
            counts.append(where + facts.account)
    _say(console, ", ".join(counts))


def _rows(files: Sequence[FileFacts], labels: Sequence[str]) -> list[tuple[str, list[str]]]:
    rows = [
        ("Format", [facts.format for facts in files]),
        ("Read as", [facts.layout for facts in files]),
        ("Sentences", [_number(facts.sentences) for facts in files]),
    ]
    if any(facts.docstart_lines for facts in files):
        rows.append(
            (
                "  with -DOCSTART-",
                [_number(facts.sentences + facts.docstart_lines) for facts in files],
            )
        )
    rows.append(("Tokens", [_number(facts.tokens) for facts in files]))
    if any(facts.docstart_lines for facts in files):
        rows.append(
            ("  with -DOCSTART-", [_number(facts.tokens + facts.docstart_lines) for facts in files])
        )
    rows.append(("Entities", [_number(facts.entities) for facts in files]))
    rows += [
        (f"  {label}", [_number(facts.labels.get(label, 0)) for facts in files]) for label in labels
    ]
    rows.append(("Longest sentence", [f"{_number(facts.longest)} words" for facts in files]))
    rows.append(("Repeated sentences", [_number(facts.repeated) for facts in files]))
    if any(facts.left_out for facts in files):
        rows.append(("Sentences left out", [_number(facts.left_out) for facts in files]))
    return rows


def _say(console: Console, text: str) -> None:
    line = printable(text, keep="")
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _counted(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def to_json(report: DataReport) -> str:
    """Everything, one finding an object with `path`, `line` (or null) and `message`."""
    return json.dumps(_plain(asdict(report)), ensure_ascii=False, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | None) else str(value)
