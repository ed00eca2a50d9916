"""`ner-edge tag`: find the entities in texts."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import Annotated

import typer

from ner_edge.cli.options import DecoderName, DecoderOption, GpuOption, ModelOption, ThreadsOption
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say


class FormatName(StrEnum):
    brackets = "brackets"
    jsonl = "jsonl"
    conll = "conll"


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
    from ner_edge.builtin import resolve_model
    from ner_edge.data.texts import STDIN, check_readable, read_texts
    from ner_edge.terminal.progress import progress_bar

    check_stdout_is_open()
    paths = files or [STDIN]
    if STDIN in paths:
        check_stdin_is_open()
    if not files and sys.stdin.isatty():
        say("reading from the terminal; end with Ctrl-D")
    total = check_readable(paths)
    _check_ends(paths)
    path = resolve_model(model)

    from ner_edge.runtime.formats import FORMATS
    from ner_edge.tagger import Tagger

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
    from ner_edge.data.texts import STDIN

    with suppress(OSError, ValueError):  # streams that are no files
        target = os.fstat(sys.stdout.fileno())
        for path in paths if S_ISREG(target.st_mode) else []:
            source = os.fstat(sys.stdin.fileno()) if path == STDIN else path.stat()
            if os.path.samestat(source, target):
                raise UsageError(f"{path}: is also where the results go")
