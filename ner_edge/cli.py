"""The command line: each command calls the library and prints. Heavy rooms load only in use."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ner_edge import __version__
from ner_edge.cli_data import compare, data_app
from ner_edge.cli_eval import evaluate
from ner_edge.cli_export import export, verify
from ner_edge.cli_options import DecoderName, DecoderOption, GpuOption, ThreadsOption
from ner_edge.cli_train import train
from ner_edge.errors import NerEdgeError, NerEdgeWarning, UsageError
from ner_edge.terminal import (
    as_utf8,
    check_stdin_is_open,
    check_stdout_is_open,
    open_streams,
    printable,
    say,
)


class _Group(TyperGroup):
    """Turns the user's mistakes into one line and an exit code."""

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
        # Whoever read our output has had enough, as `head` does.
        _fail(None, 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"error: {where}{error.strerror or error}", 1)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Named-entity recognition with small language models, on your own machine.",
)


def _fail(message: str | None, exit_code: int, details: str = "") -> NoReturn:
    if message is not None:
        say(message, details)
    try:
        sys.stdout.flush()
    except OSError:  # Python would try again, at exit, to write what could not be written
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
) -> None:
    # Our warnings are one line each; those of the libraries below are not for users.
    warnings.simplefilter("ignore")
    warnings.simplefilter("default", NerEdgeWarning)
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")


class FormatName(StrEnum):
    brackets = "brackets"
    jsonl = "jsonl"
    conll = "conll"


ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A GGUF, or conll2003-135m[:quant]."),
]


@app.command()
def tag(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Text files, one text per line; - is stdin.")
    ] = None,
    model: ModelOption = None,
    format: Annotated[FormatName, typer.Option(help="How to print.")] = FormatName.brackets,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out entities less probable than this.")
    ] = 0.0,
    decoder: DecoderOption = DecoderName.copy,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Find the entities in text files, or in what is piped in."""
    from ner_edge.models import resolve_model
    from ner_edge.progress import progress_bar
    from ner_edge.texts import STDIN, check_readable, read_texts

    check_stdout_is_open()
    paths = files or [STDIN]
    if STDIN in paths:
        check_stdin_is_open()
    if not files and sys.stdin.isatty():
        say("reading from the terminal; end with Ctrl-D")
    total = check_readable(paths)
    _check_ends(paths)
    path = resolve_model(model)

    from ner_edge.formats import FORMATS
    from ner_edge.runtime.tagger import Tagger

    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    with (
        Tagger.load(path, decoder=decoder.value, threads=threads, gpu_layers=gpu_layers) as tagger,
        # On a terminal the results themselves show the progress.
        progress_bar("tagging", total, hidden=sys.stdout.isatty()) as update,
    ):
        tagger.min_score = min_score
        read = 0

        def advance(size: int) -> None:
            nonlocal read
            read += size
            update(read, total)

        texts = read_texts(paths, lambda text: say(f"warning: {text}"), advance)
        for result in FORMATS[format](tagger, texts):
            print(result, flush=total is None)


def _check_ends(paths: Sequence[Path]) -> None:
    """Refuse `tag notes.txt >> notes.txt`, which would tag its own results for ever."""
    from ner_edge.texts import STDIN

    with suppress(OSError, ValueError):  # streams that are no files
        target = os.fstat(sys.stdout.fileno())
        for path in paths if S_ISREG(target.st_mode) else []:
            source = os.fstat(sys.stdin.fileno()) if path == STDIN else path.stat()
            if os.path.samestat(source, target):
                raise UsageError(f"{path}: is also where the results go")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A GGUF, or conll2003-135m[:quant].")],
) -> None:
    """Show what a model file holds: task, quantization, tensor types, and what it was made of."""
    from ner_edge.facts import describe
    from ner_edge.models import resolve_model

    check_stdout_is_open()
    for name, value in describe(resolve_model(model)).rows():
        print(f"{name + ':':<15}{printable(value, keep='')}")


@app.command()
def grammar(
    text: Annotated[str, typer.Argument(help="A sentence, or several.")],
    model: ModelOption = None,
    request: Annotated[
        bool, typer.Option(help="Print a JSON body for llama-server's /completion instead.")
    ] = False,
) -> None:
    """Print the grammar of a sentence's possible answers, for llama.cpp's own tools.

    ner-edge grammar --request "Ada lives in London." | curl -d @- localhost:8080/completion
    """
    import json

    from ner_edge.runtime.grammar import gbnf
    from ner_edge.runtime.tagger import Tagger
    from ner_edge.segment import segment

    check_stdout_is_open()
    with Tagger.load(model) as tagger:
        for sentence in segment(as_utf8(text)):
            words = [word.text for word in sentence]
            if request:
                print(json.dumps(tagger.completion_request(words)))
            else:
                print(gbnf(words, list(tagger.task.labels)), end="")


app.command("eval")(evaluate)
app.command()(compare)
app.command()(export)
app.command()(verify)
app.command()(train)
app.add_typer(data_app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    open_streams()
    app(arguments)
