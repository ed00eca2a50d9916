"""`ner-edge redact`: replace the entities in texts with placeholders."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import (
    DecoderOption,
    DepthOption,
    GpuOption,
    ModelOption,
    ThreadsOption,
    finite,
)
from ner_edge.data.texts import STDIN
from ner_edge.errors import UsageError
from ner_edge.terminal.streams import check_stdin_is_open, check_stdout_is_open, say

if TYPE_CHECKING:
    from ner_edge.folders.redact import Redaction

_SHOWN = 20
"""The most entities that are listed on standard error."""


def redact(
    source: Annotated[Path, typer.Argument(help="A file or a folder; - is stdin.")] = STDIN,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The redacted file (default: stdout) or folder."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Write the key that `restore` needs to this file; keep it secret."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="Replace only entities with this label; repeatable (default: all)."),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            callback=finite,
            help="Do not replace entities with a lower score; list them.",
        ),
    ] = 0.0,
    everywhere: Annotated[
        bool,
        typer.Option(
            help="Also replace all other occurrences of found names, and e-mail and web addresses "
            "that contain one."
        ),
    ] = True,
    review: Annotated[
        Path | None,
        typer.Option(
            help="List the entities below --min-score, with their texts, in this TSV file."
        ),
    ] = None,
    model: ModelOption = None,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    threads: ThreadsOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Replace the entities in texts with placeholders such as [PER_1].

    A name has the same placeholder in all files of a folder. There is no guarantee that every name
    is found: read the result before you share it.
    """
    from ner_edge.builtin import resolve_model
    from ner_edge.folders.found import finder
    from ner_edge.folders.redact import Choice, write_review
    from ner_edge.folders.redaction_job import RedactionJob
    from ner_edge.folders.run_id import run_id
    from ner_edge.terminal.progress import progress_bar

    if out in (None, STDIN):
        check_stdout_is_open()
    if source == STDIN:
        check_stdin_is_open()
    job = RedactionJob(source, out, key, review)
    path = resolve_model(model)

    from ner_edge.tagger import Tagger

    with (
        Tagger.load(
            path,
            decoder=decoder.value if decoder else None,
            depth=depth,
            threads=threads,
            gpu_layers=gpu_layers,
        ) as tagger,
        finder(tagger, run_id(tagger, path)) as find,
        progress_bar("redacting", job.size or None) as update,
    ):
        choice = Choice(_chosen(label, tagger.task.labels), min_score, everywhere)
        redaction = job.run(choice, find, update)
    if review is not None:
        write_review(redaction.unsure, review)
    _report(redaction, review)
    job.left_out.check()


def _chosen(wanted: list[str] | None, known: Collection[str]) -> frozenset[str]:
    for label in wanted or []:
        if label not in known:
            raise UsageError(f"--label {label}: the model's labels are {', '.join(known)}")
    return frozenset(wanted or known)


def _report(redaction: "Redaction", review: Path | None) -> None:
    from ner_edge.terminal.counts import counted

    replaced = counted(redaction.places, "place")
    files = counted(len(redaction.documents), "file")
    say(f"{replaced} replaced in {files}, by {counted(redaction.placeholders, 'placeholder')}")
    unsure = redaction.unsure
    if unsure:
        say(
            f"{counted(len(unsure), 'entity')} stayed, with a score below "
            f"{redaction.choice.min_score:g}:"
        )
        for name, line, column, label, score, _ in unsure[:_SHOWN]:
            say(f"  {name}:{line}:{column}: {label}, {score:.2f}")
        if len(unsure) > _SHOWN and review is None:
            say(f"  {len(unsure) - _SHOWN} more; --review FILE lists all")
    say("There is no guarantee that every name was found: read the result before you share it.")
