"""`ner-edge bulk`: tag millions of texts with all cores of one machine, or with a cluster."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ner_edge.cli.options import DecoderOption, DepthOption, GpuOption, ModelOption, finite
from ner_edge.errors import NerEdgeError, missing_extra
from ner_edge.terminal.counts import counted, grouped

if TYPE_CHECKING:
    from ner_edge.bulk.cluster import Arrangement
    from ner_edge.bulk.job import Load, Summary
    from ner_edge.bulk.model_file import ModelFile
    from ner_edge.bulk.plan import Plan


class SourceName(StrEnum):
    text = "text"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


class OutputName(StrEnum):
    parquet = "parquet"
    jsonl = "jsonl"


def bulk(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Text files (one text per line), JSON lines, CSV or Parquet; paths, folders, "
            "globs in quotes, or URLs such as s3://bucket/news/*.parquet.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="Write the parts into this folder; finished ones are not redone."
        ),
    ],
    model: ModelOption = None,
    text_column: Annotated[str, typer.Option(help="The column with the texts.")] = "text",
    format: Annotated[OutputName, typer.Option(help="Format of the parts.")] = OutputName.parquet,
    source_format: Annotated[
        SourceName | None,
        typer.Option("--from", help="Format of INPUTS (default: by suffix)."),
    ] = None,
    part_size: Annotated[int, typer.Option(min=1, help="The most texts in a part.")] = 1000,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes that tag (default: as many as fit)."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of a worker (default: 1, more if memory is short)."),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            min=1,
            callback=finite,
            metavar="MB",
            help="Memory of a worker in megabytes (default: model + 500).",
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            min=0,
            callback=finite,
            help="GPUs of a worker, such as 0.5 (default: 1 if llama.cpp was built for one).",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster; auto finds it (default: this machine only)."),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(min=0, max=1, callback=finite, help="Leave out entities with a lower score."),
    ] = 0.0,
    decoder: DecoderOption = None,
    depth: DepthOption = None,
    gpu_layers: GpuOption = None,
) -> None:
    """Tag millions of texts with all cores of this machine, or with a Ray cluster."""
    try:
        from ner_edge.bulk.cluster import Wishes, check_installed
        from ner_edge.bulk.job import run
        from ner_edge.bulk.manifest import Settings
        from ner_edge.bulk.model_file import ModelFile
        from ner_edge.bulk.plan import Plan
        from ner_edge.bulk.worker import LoadTagger

        check_installed()
    except ImportError as error:
        raise missing_extra("ray", error) from None
    from ner_edge.builtin import resolve_model
    from ner_edge.runtime.hardware import usable_gpu_layers
    from ner_edge.runtime.tagger import GGUFTagger
    from ner_edge.terminal.progress import progress_bar

    settings = Settings(
        text_column=text_column,
        format=format.value,
        part_size=part_size,
        min_score=min_score,
        decoder=decoder.value if decoder else None,
        depth=depth,
    )
    with progress_bar("reading") as update:
        plan = Plan(inputs, out, settings, source_format and source_format.value, update)
    file = ModelFile.at(resolve_model(model))

    def load(file: "ModelFile", arrangement: "Arrangement") -> "Load":
        layers = gpu_layers if arrangement.gpus else 0
        return LoadTagger(file, GGUFTagger.version, settings, arrangement.threads, layers)

    wishes = Wishes(workers, threads, int(memory * 1e6) if memory else None, gpus)
    with progress_bar("tagging", plan.texts) as update:
        gpu = usable_gpu_layers(gpu_layers) > 0
        summary = run(plan, file, load, wishes, update, address=address, gpu=gpu)
    _print(summary, plan)
    if summary.failures:
        raise NerEdgeError(
            f"{counted(len(summary.failures), 'part')} of {grouped(len(plan.parts))} failed; "
            "the same command tries them again"
        )


def _print(summary: "Summary", plan: "Plan") -> None:
    counts, made = summary.counts, summary.made
    parts = len(plan.parts) - len(summary.failures)
    print(f"{plan.out.shown}: {counted(parts, 'part')} with {counted(counts.texts, 'text')}")
    print(f"{counted(counts.entities, 'entity')}, {counted(counts.failed, 'text')} with an error")
    if before := counts.texts - made.texts:
        print(f"{counted(before, 'text')} were done before")
    if summary.arrangement and made.texts and summary.seconds:
        workers, threads, _, gpus = summary.arrangement
        rate = summary.sentences / summary.seconds
        per_core = "" if gpus else f", {rate / workers / threads:.2f} per core"
        print(
            f"{counted(made.texts, 'text')} with {counted(summary.sentences, 'sentence')} in "
            f"{summary.seconds:.0f} s: {rate:.2f} sentences/s{per_core} "
            f"({counted(workers, 'worker')} with {counted(threads, 'thread')} each)"
        )
