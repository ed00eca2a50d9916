"""`ner-edge tag`: find the entities in texts."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import (
    DecoderOption,
    DepthOption,
    GpuOption,
    ModelOption,
    ThreadsOption,
)
from ner_edge.errors import UsageError
from ner_edge.runtime.formats import FORMATS, tag_and_format
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say

if TYPE_CHECKING:
    from ner_edge.terminal.progress import Update

    FormatName = str
else:  # typer offers the members of an enumeration as choices
    FormatName = StrEnum("FormatName", {name: name for name in FORMATS})
_DEFAULT_FORMAT = FormatName(next(iter(FORMATS)))


def tag(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Text files, one text per line; - is stdin.")
    ] = None,
    model: ModelOption = None,
    format: Annotated[FormatName, typer.Option(help="Output format.")] = _DEFAULT_FORMAT,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Leave out entities with a lower score.")
    ] = 0.0,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Find the entities in text files, or in standard input."""
    from ner_edge.builtin import resolve_model
    from ner_edge.data.texts import STDIN, check_readable, read_texts
    from ner_edge.terminal.progress import progress_bar

    paths = files or [STDIN]
    _check_streams(paths)
    if not files and sys.stdin.isatty():
        say("reading from the terminal; end with Ctrl-D")
    total = check_readable(paths)
    _check_output_is_no_input(paths)
    path = resolve_model(model)

    from ner_edge.tagger import Tagger

    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    with (
        Tagger.load(
            path,
            decoder=decoder.value if decoder else None,
            depth=depth,
            threads=threads,
            gpu_layers=gpu_layers,
        ) as tagger,
        # On a terminal, the results themselves show the progress.
        progress_bar("tagging", total, hidden=sys.stdout.isatty()) as update,
    ):
        tagger.min_score = min_score
        texts = read_texts(paths, lambda text: say(f"warning: {text}"), _summing(update))
        for result in tag_and_format(FORMATS[format], tagger, texts):
            print(result, flush=total is None)


def _summing(update: "Update") -> Callable[[int], None]:
    read = 0

    def advance(size: int) -> None:
        nonlocal read
        read += size
        update(read)

    return advance


def _check_streams(paths: Sequence[Path]) -> None:
    from ner_edge.data.texts import STDIN

    check_stdout_is_open()
    if STDIN in paths:
        check_stdin_is_open()


def _check_output_is_no_input(paths: Sequence[Path]) -> None:
    """Refuse `tag notes.txt >> notes.txt`, which would tag its own results forever."""
    from ner_edge.data.texts import STDIN

    with suppress(OSError, ValueError):  # streams that are not files
        target = os.fstat(sys.stdout.fileno())
        for path in paths if S_ISREG(target.st_mode) else []:
            source = os.fstat(sys.stdin.fileno()) if path == STDIN else path.stat()
            if os.path.samestat(source, target):
                raise UsageError(f"{path}: the results would be written to this input file")
