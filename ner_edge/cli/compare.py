"""`ner-edge compare`: score predictions that other tools made."""

from collections.abc import Sequence
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
        typer.Argument(help="Prediction files of any tool, in any format."),
    ],
    gold: Annotated[Path, typer.Option(help="Labelled data in any format.")],
    rename: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Rename a predicted label; OLD= drops its entities; repeatable.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    baseline: BaselineOption = None,
    markdown: MarkdownOption = False,
    json: JsonOption = None,
    report_folder: ReportOption = None,
) -> None:
    """Score the predictions of any tool against gold data, as `eval` does for models.

    Their text must match the gold data's, except for white space and line breaks.
    """
    from ner_edge.data.formats.columns import parse_columns
    from ner_edge.eval.prediction_files import compare_files
    from ner_edge.eval.report.destinations import Destinations

    destinations = Destinations(markdown, json, report_folder)
    destinations.check([gold], predictions)
    comparison = compare_files(
        gold,
        predictions,
        baseline=baseline,
        labels=_label_names(rename or []),
        columns=parse_columns(columns),
    )
    destinations.write([comparison])


def _label_names(pairs: Sequence[str]) -> dict[str, str]:
    labels = {}
    for pair in pairs:
        old, equals, new = as_utf8(pair).partition("=")
        if not old or not equals:
            raise UsageError(f"--map {pair}: expected OLD=NEW, like PERSON=PER")
        labels[old] = new
    return labels
