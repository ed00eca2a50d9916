"""The commands about labelled data and predictions that other tools made of it."""

from pathlib import Path
from typing import Annotated

import typer

from ner_edge.cli.options import (
    ColumnsOption,
    JsonOption,
)

data_app = typer.Typer(name="data", no_args_is_help=True, help="Look at labelled data.")


@data_app.callback()
def _data() -> None:
    # With a callback, `check` stays a command of its own while it is the only one.
    pass


@data_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="CoNLL columns, or JSON.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Also check labels and sentence lengths against this model."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Also check labels against this task: a name or a TOML file.")
    ] = None,
    columns: ColumnsOption = None,
    json: JsonOption = None,
) -> None:
    """Count, and find what would make training or evaluation wrong (exit code 1).

    Illegal tags with their lines, sentences that stand in several files, unknown labels.
    """
    from contextlib import ExitStack

    from ner_edge.data.check import check_data
    from ner_edge.data.readers.columns import parse_columns
    from ner_edge.data.report import print_data_report, to_json
    from ner_edge.files.atomic import write_text
    from ner_edge.files.targets import check_file
    from ner_edge.task import load_task, task_files
    from ner_edge.terminal.console import PrintableConsole

    chosen = parse_columns(columns)
    if json is not None and json != "-":
        read = [*files, *([Path(model)] if model else []), *task_files(task)]
        check_file(f"--json {json}", Path(json), read)
    labels = None if task is None else load_task(task).labels
    fits = None
    with ExitStack() as stack:
        if model is not None:
            from ner_edge.tagger import Tagger

            tagger = stack.enter_context(Tagger.load(model))
            fits = tagger.fits
            labels = labels or tagger.task.labels
        report = check_data(files, labels=labels, fits=fits, columns=chosen)
    if json != "-":
        print_data_report(report, PrintableConsole())
    if json is not None:
        write_text(to_json(report), json)
    if report.problems:
        raise typer.Exit(1)
