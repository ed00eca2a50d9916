"""The command line: each command calls the library and prints. Heavy rooms load only in use."""

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ner_edge import __version__
from ner_edge.cli_data import compare, data_app
from ner_edge.cli_eval import evaluate
from ner_edge.cli_export import export, verify
from ner_edge.cli_options import DecoderName, DecoderOption, GpuOption, ThreadsOption
from ner_edge.cli_train import train
from ner_edge.errors import NerEdgeError, NerEdgeWarning


class _Group(TyperGroup):
    """Turns the user's mistakes into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except NerEdgeError as error:
            _say(f"error: {error}")
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _say("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output has had enough, as `head` does.
            _discard_stdout()
            raise typer.Exit(1) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _say(f"error: {where}{error.strerror or error}")
            _discard_stdout()
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Named-entity recognition with small language models, on your own machine.",
)


def _discard_stdout() -> None:
    """Or Python would try again, at exit, to write what could not be written."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):  # a standard output that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


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
    warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")


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

    paths = files or [STDIN]
    if not files and sys.stdin.isatty():
        _say("reading from the terminal; end with Ctrl-D")
    total = check_readable(paths)
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

        texts = read_texts(paths, lambda text: _say(f"warning: {text}"), advance)
        for result in FORMATS[format](tagger, texts):
            print(result, flush=total is None)


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="A GGUF, or conll2003-135m[:quant].")],
) -> None:
    """Show what a model file holds: task, quantization, tensor types, and what it was made of."""
    from ner_edge.facts import describe
    from ner_edge.models import resolve_model

    for name, value in describe(resolve_model(model)).rows():
        print(f"{name + ':':<15}{value}")


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

    with Tagger.load(model) as tagger:
        for sentence in segment(text):
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
    app(arguments)
