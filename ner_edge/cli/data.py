"""`ner-edge data`: commands on labelled data."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import ColumnsOfFilesOption, JsonOption

if TYPE_CHECKING:
    from ner_edge.tagger import Tagger

data_app = typer.Typer(name="data", no_args_is_help=True, help="Inspect labelled data.")


@data_app.callback()
def _data() -> None:
    # The callback keeps `check` a command of its own while it is the only one.
    pass


@data_app.command()
def check(
    files: Annotated[list[Path], typer.Argument(help="Labelled data in any format.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="Also check labels and sentence lengths against this model."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Also check labels against this task: a name or a TOML file.")
    ] = None,
    columns: ColumnsOfFilesOption = None,
    json: JsonOption = None,
) -> None:
    """Count sentences and entities, and report problems.

    Illegal tags, sentences that occur in several files, and unknown labels would
    spoil training or evaluation. Exits with 1 if there are any.
    """
    from ner_edge.data.check import check_data
    from ner_edge.data.formats.columns import columns_of
    from ner_edge.data.report import print_data_report, to_json
    from ner_edge.files.atomic import write_text
    from ner_edge.task import load_task, task_files
    from ner_edge.terminal.console import PrintableConsole

    chosen = columns_of(files, columns or [])
    _check_json_target(json, [*files, *([Path(model)] if model else []), *task_files(task)])
    labels = None if task is None else load_task(task).labels
    with _load_tagger(model) as tagger:
        fits = None if tagger is None else tagger.fits
        if tagger is not None and labels is None:
            labels = tagger.task.labels
        report = check_data(files, labels=labels, fits=fits, columns=chosen)
    if json != "-":
        print_data_report(report, PrintableConsole())
    if json is not None:
        write_text(to_json(report), json)
    if report.problems:
        raise typer.Exit(1)


def _check_json_target(json: str | None, inputs: list[Path]) -> None:
    from ner_edge.files.targets import check_file

    if json is not None and json != "-":
        check_file(f"--json {json}", Path(json), inputs)


def _load_tagger(model: str | None) -> "AbstractContextManager[Tagger | None]":
    if model is None:
        return nullcontext()
    from ner_edge.tagger import Tagger

    return Tagger.load(model)
