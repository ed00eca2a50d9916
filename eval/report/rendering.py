"""The report's tables and footnotes on a terminal and as Markdown."""

from collections.abc import Iterator

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ner_edge.eval.comparison import Comparison
from ner_edge.eval.report.footnotes import footnotes
from ner_edge.eval.report.tables import Table, tables

_FIRST_COLUMN = 22  # characters of a terminal's width for the first column and the margins


def print_report(comparison: Comparison, console: Console) -> None:
    """Print all tables and the footnotes on a terminal."""
    for table in tables(comparison):
        print_table(table, console)
    for line in footnotes(comparison):
        console.print(line, markup=False, highlight=False)


def print_table(table: Table, console: Console) -> None:
    """Print a table on a terminal, in several parts if it is too wide."""
    for part in _fitted(table, console.width):
        console.print(_rich_table(part))


def _rich_table(table: Table) -> RichTable:
    # Text, because a label or file name in square brackets is not markup.
    shown = RichTable(
        title=Text(table.title), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    shown.add_column(Text(table.columns[0]), overflow="fold")
    for column in table.columns[1:]:
        shown.add_column(Text(_header(column)), justify="right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    return shown


def _header(column: str) -> str:
    """Break the header into two lines, so that more columns fit."""
    return column.replace("/", "\n/").replace(" (", "\n(").replace(" [", "\n[")


def _fitted(table: Table, width: int) -> Iterator[Table]:
    """Split a table that is too wide for the terminal; each part repeats the first column."""
    widths = [
        1 + max(map(len, (*_header(column).split("\n"), *cells)))
        for column, *cells in zip(table.columns, *table.rows, strict=True)
    ]
    groups: list[list[int]] = []
    for i in range(1, len(widths)):
        if not groups or sum(widths[j] for j in (*groups[-1], i)) > width - _FIRST_COLUMN:
            groups.append([])
        groups[-1].append(i)
    for number, group in enumerate(groups):
        title = f"{table.title}, continued" if number else table.title
        columns, *rows = ([row[i] for i in (0, *group)] for row in (table.columns, *table.rows))
        yield Table(title, columns, rows)


def markdown(comparison: Comparison) -> str:
    """Return all tables and footnotes as GitHub Markdown, ending in a newline."""
    blocks = map(markdown_table, tables(comparison))
    return "\n\n".join([*blocks, *footnotes(comparison)]) + "\n"


def markdown_table(table: Table) -> str:
    """Return a table as GitHub Markdown, below its title."""
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    rows = (table.columns, rule, *table.rows)
    lines = ["| " + " | ".join(map(_escaped, cells)) + " |" for cells in rows]
    return "\n".join([f"**{table.title}**", "", *lines])


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
