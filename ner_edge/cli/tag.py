"""`ner-edge tag`: find the entities in texts."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from itertools import chain
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
    finite,
)
from ner_edge.data.formats.table import FORMATS, format_to_write
from ner_edge.errors import DataError, UsageError
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say

if TYPE_CHECKING:
    from ner_edge.data.formats.format import Format
    from ner_edge.tagger import Tagger
    from ner_edge.terminal.progress import Update

    SourceName = str
else:  # typer offers the members of an enumeration as choices
    SourceName = StrEnum("SourceName", ["text", *ReadableName])
_DEFAULT = next(iter(FORMATS))
_DOCUMENTS = (".docx", ".pdf")  # that are not read as plain text


def tag(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Text files (one text per line), files of other formats, or folders; - is stdin.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write to this file instead of stdout. If an input or this path is a folder, "
            "write a result for each file into this folder, skipping finished files.",
        ),
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
            help="Format of FILES; entities in them are ignored (default: by suffix: "
            "jsonl, conll, csv, parquet or spacy, else text).",
        ),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(min=0, max=1, callback=finite, help="Leave out entities with a lower score."),
    ] = 0.0,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Find the entities in text files, standard input, or all files of a folder."""

    def load(path: Path) -> "Tagger":
        from ner_edge.tagger import Tagger

        tagger = Tagger.load(
            path,
            decoder=decoder.value if decoder else None,
            depth=depth,
            threads=threads,
            gpu_layers=gpu_layers,
        )
        tagger.min_score = min_score
        return tagger

    paths = files or []
    out = None if str(out) == "-" else out
    chosen = FORMATS[str(format)] if format else None
    if out is not None and _wants_folder(paths, out, chosen):
        if source_format not in (None, "text"):
            raise UsageError(f"--from {source_format}: name one file with --out, not a folder")
        _tag_into_folder(paths, out, model, chosen or FORMATS[_DEFAULT], load)
        return
    if chosen is None:
        chosen = FORMATS[_DEFAULT] if out is None else format_to_write("--format", out)
    _tag_together(paths, out, model, chosen, source_format and str(source_format), load)


def _wants_folder(paths: Sequence[Path], out: Path, format: "Format | None") -> bool:
    """Whether each file gets its own result in the folder `out`."""
    if any(path.is_dir() or path.suffix.lower() in _DOCUMENTS for path in paths):
        return True
    return out.is_dir() and not (format is not None and format.is_folder)


def _tag_together(
    files: Sequence[Path],
    out: Path | None,
    model: str | None,
    to: "Format",
    source_format: str | None,
    load: Callable[[Path], "Tagger"],
) -> None:
    from ner_edge.builtin import resolve_model
    from ner_edge.cli.tag_input import TagInput
    from ner_edge.data.formats.format import Holds, Losses
    from ner_edge.data.save import print_documents, save_documents
    from ner_edge.data.texts import STDIN
    from ner_edge.tagger import tag_documents
    from ner_edge.terminal.progress import progress_bar

    paths = files or [STDIN]
    _check_out(out, to, paths)
    _check_streams(paths, out)
    if not files and sys.stdin.isatty():
        say("reading from the terminal; end with Ctrl-D")
    _check_plain(paths)
    texts = TagInput(paths, source_format)
    if texts.fields and Holds.FIELDS not in to.holds:
        say(f"warning: {to.name} cannot hold the other fields: {', '.join(sorted(texts.fields))}")
    _check_output_is_no_input(paths)
    path = resolve_model(model)

    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    with (
        load(path) as tagger,
        # On a terminal, the results themselves show the progress.
        progress_bar("tagging", texts.size, hidden=out is None and sys.stdout.isatty()) as update,
    ):
        tagged = chain.from_iterable(
            tag_documents(tagger, documents, extent)
            for documents, extent in texts.files(_summing(update))
        )
        keep = Holds.DOCSTART in to.holds
        documents = (document for document in tagged if keep or not document.is_docstart)
        if out is None:
            print_documents(documents, to, Losses(), flush=texts.size is None)
        else:
            save_documents(documents, to, out, Losses())


def _tag_into_folder(
    inputs: Sequence[Path],
    out: Path,
    model: str | None,
    format: "Format",
    load: Callable[[Path], "Tagger"],
) -> None:
    from ner_edge.builtin import resolve_model
    from ner_edge.folders.run_id import run_id
    from ner_edge.folders.tag import TagJob
    from ner_edge.terminal.counts import counted
    from ner_edge.terminal.progress import progress_bar

    job = TagJob(inputs, out, format)
    path = resolve_model(model)
    with load(path) as tagger, progress_bar("tagging", job.size or None) as update:
        run = run_id(tagger, path, format=format.name, min_score=tagger.min_score)
        tagged, skipped = job.run(tagger, run, update)
    say(f"{counted(tagged, 'file')} tagged" + (f", {skipped} were done before" * bool(skipped)))
    job.left_out.check()


def _check_plain(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir():
            raise DataError(f"{path}: is a folder, not a file; --out FOLDER tags the files in it")
        if path.suffix.lower() in _DOCUMENTS:
            raise UsageError(
                f"{path}: is no plain text; --out FOLDER extracts its text and tags that"
            )


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
