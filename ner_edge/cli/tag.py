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
    FormatName,
    GpuOption,
    ModelOption,
    ReadableName,
    ThreadsOption,
)
from ner_edge.data.formats.table import FORMATS
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say

if TYPE_CHECKING:
    from ner_edge.data.formats.format import Format
    from ner_edge.terminal.progress import Update

    SourceName = str
else:  # typer offers the members of an enumeration as choices
    SourceName = StrEnum("SourceName", ["text", *ReadableName])
_DEFAULT = next(iter(FORMATS))


def tag(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Text files, one text per line, or tables; - is stdin."),
    ] = None,
    model: ModelOption = None,
    format: Annotated[
        FormatName | None,
        typer.Option(help=f"Output format (default: by the suffix of --out, else {_DEFAULT})."),
    ] = None,
    source_format: Annotated[
        SourceName | None,
        typer.Option(
            "--from",
            help="Format of FILES, whose entities are ignored (default: csv, parquet or spacy by "
            "suffix, else text).",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to this file instead of stdout.")
    ] = None,
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
    from ner_edge.cli.tag_input import TagInput
    from ner_edge.data.formats.format import Holds, Losses
    from ner_edge.data.formats.table import format_to_write
    from ner_edge.data.save import print_documents, save_documents
    from ner_edge.data.texts import STDIN
    from ner_edge.terminal.progress import progress_bar

    paths = files or [STDIN]
    out = None if str(out) == "-" else out
    if format is not None or out is None:
        to = FORMATS[str(format or _DEFAULT)]
    else:
        to = format_to_write("--format", out)
    _check_out(out, to, paths)
    _check_streams(paths, out)
    if not files and sys.stdin.isatty():
        say("reading from the terminal; end with Ctrl-D")
    texts = TagInput(paths, source_format and str(source_format))
    if texts.fields and Holds.FIELDS not in to.holds:
        say(f"warning: {to.name} cannot hold the other fields: {', '.join(sorted(texts.fields))}")
    _check_output_is_no_input(paths)
    path = resolve_model(model)

    from ner_edge.tagger import Tagger, tag_documents

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
        progress_bar("tagging", texts.size, hidden=out is None and sys.stdout.isatty()) as update,
    ):
        tagger.min_score = min_score
        documents = tag_documents(tagger, texts.documents(_summing(update)))
        if out is None:
            print_documents(documents, to, Losses(), flush=texts.size is None)
        else:
            save_documents(documents, to, out, Losses())


def _summing(update: "Update") -> Callable[[int], None]:
    read = 0

    def advance(size: int) -> None:
        nonlocal read
        read += size
        update(read)

    return advance


def _check_out(out: Path | None, to: "Format", paths: Sequence[Path]) -> None:
    from ner_edge.data.save import check_target

    if out is not None:
        check_target(f"--out {out}", out, to, paths)
    elif to.write is None:
        needed = "folder" if to.is_folder else "file"
        raise UsageError(f"--format {to.name}: is no stream of text: name a {needed} with --out")


def _check_streams(paths: Sequence[Path], out: Path | None) -> None:
    from ner_edge.data.texts import STDIN

    if out is None:
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
