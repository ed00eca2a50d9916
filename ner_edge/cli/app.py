"""The command line. Commands import libraries only when they run, so that --help is fast."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ner_edge import __version__
from ner_edge.cli.average import average
from ner_edge.cli.bulk import bulk
from ner_edge.cli.compare import compare
from ner_edge.cli.convert import convert
from ner_edge.cli.data import data_app
from ner_edge.cli.eval import evaluate
from ner_edge.cli.export import export
from ner_edge.cli.grammar import grammar
from ner_edge.cli.info import info
from ner_edge.cli.models import models_app
from ner_edge.cli.redact import redact
from ner_edge.cli.restore import restore
from ner_edge.cli.serve import serve
from ner_edge.cli.tag import tag
from ner_edge.cli.train import train
from ner_edge.cli.verify import verify
from ner_edge.errors import NerEdgeError, NerEdgeWarning
from ner_edge.offline import go_offline, is_offline
from ner_edge.terminal.streams import open_streams, say


class _Group(TyperGroup):
    """Reports errors that a user can cause in one line, with an exit code."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _one_line_errors():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        try:
            yield
        except typer.Exit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()
    except NerEdgeError as error:
        _fail(f"error: {error}", error.exit_code, error.details)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does.
        _fail(None, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"error: {where}{error.strerror or error}", 1)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _fail(message: str | None, exit_code: int, details: str = "") -> NoReturn:
    if message is not None:
        say(message, details)
    try:
        sys.stdout.flush()
    except OSError:  # at exit Python would try to write the rest again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(exit_code) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"ner-edge {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Download nothing; the same as NER_EDGE_OFFLINE=1."),
    ] = False,
) -> None:
    """Named-entity recognition with small language models, on your own machine."""
    if offline or is_offline():
        go_offline()
    # Show our warnings in one line each, and hide those of libraries.
    warnings.simplefilter("ignore")
    warnings.simplefilter("default", NerEdgeWarning)
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")


app.command()(tag)
app.command()(bulk)
app.command()(redact)
app.command()(restore)
app.command()(serve)
app.command()(info)
app.command()(grammar)
app.command("eval")(evaluate)
app.command()(compare)
app.command()(export)
app.command()(verify)
app.command()(train)
app.command()(average)
app.add_typer(data_app)
app.command()(convert)
app.add_typer(models_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, by default with the arguments of this process."""
    open_streams()
    app(arguments)
