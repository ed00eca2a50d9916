"""`ner-edge compare`: score predictions that other tools made."""

from pathlib import Path
from typing import Annotated

import typer

from ner_edge.cli.options import (
    BaselineOption,
    ColumnsOption,
    JsonOption,
    MarkdownOption,
    ReportOption,
)
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import as_utf8


def compare(
    predictions: Annotated[
        list[Path],
        typer.Argument(help="Files of any tools: JSON with offsets, or CoNLL columns."),
    ],
    gold: Annotated[Path, typer.Option(help="Gold: CoNLL columns, or JSON.")],
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", help="OLD=NEW: a predicted label's name; OLD= leaves out; repeat."),
    ] = None,
    columns: ColumnsOption = None,
    baseline: BaselineOption = None,
    markdown: MarkdownOption = False,
    json: JsonOption = None,
    report_folder: ReportOption = None,
) -> None:
    """Measure predictions of any tools against gold, as `eval` measures models.

    Their text must be the gold's but for white space, in one or more sentences per line.
    """
    from ner_edge.data.readers.columns import parse_columns
    from ner_edge.eval.output import Output
    from ner_edge.eval.predictions import compare_files

    output = Output(markdown, json, report_folder)
    output.check([gold, *predictions])
    labels = {}
    for pair in rename or []:
        old, equals, new = as_utf8(pair).partition("=")
        if not old or not equals:
            raise UsageError(f"--map {pair}: expected OLD=NEW, like PERSON=PER")
        labels[old] = new
    output.write(
        compare_files(
            gold, predictions, baseline=baseline, labels=labels, columns=parse_columns(columns)
        )
    )
