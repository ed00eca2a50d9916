"""The commands about model files: export makes them, verify checks them."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ner_edge.cli.options import ThreadsOption
from ner_edge.errors import UsageError


def export(
    adapter: Annotated[
        str | None,
        typer.Argument(help="A LoRA adapter or a merged model: folder or hub id; or --base alone."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Its base, as for train (default: the one the adapter names)."),
    ] = None,
    quant: Annotated[
        list[str] | None, typer.Option("--quant", "-q", help="Level, like q4_k_m; repeat.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Training sentences, or an importance matrix, to weight the rounding by."
        ),
    ] = None,
    recipe: Annotated[
        list[Path] | None, typer.Option(help="TOML with a type for each tensor; repeat.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Find the best recipe for a file of 80MB, say; repeat.")
    ] = None,
    max_loss: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            help="Find the smallest recipe predicted to move decisions by at most so many "
            "millinats of divergence, say 2; repeat.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("."),
    name: Annotated[str | None, typer.Option(help="Name of the files (the adapter's).")] = None,
    task: Annotated[
        str | None, typer.Option(help="Task to embed: a name or a TOML file (the adapter's).")
    ] = None,
    card: Annotated[
        bool, typer.Option("--card", help="Write a model card in Markdown too.")
    ] = False,
    modelfile: Annotated[
        bool, typer.Option("--modelfile", help="Write a Modelfile for Ollama beside each file too.")
    ] = False,
    adapter_only: Annotated[
        bool, typer.Option(help="Write the adapter alone, as a GGUF LoRA for llama.cpp.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Merge an adapter into its base and write GGUF files at any quantization levels."""
    from ner_edge.export.pipeline import export_model
    from ner_edge.export.quantize.calibration import CalibrationSet, read_calibration
    from ner_edge.export.quantize.recipe import parse_size, read_recipe
    from ner_edge.export.quantize.types import parse_quants
    from ner_edge.task import load_task
    from ner_edge.terminal.progress import progress_bar

    recipes = [read_recipe(path) for path in recipe or []]
    levels = quant or ([] if recipes or size or max_loss else ["q8_0"])
    if levels:
        parse_quants(levels, calibrated=calibrate is not None)
    calibration = None if calibrate is None else read_calibration(calibrate)
    sizes = [parse_size(text) for text in size or []]
    if (sizes or max_loss) and not isinstance(calibration, CalibrationSet):
        flag = "--size" if sizes else "--max-loss"
        raise UsageError(f"{flag} measures the task's decisions: give sentences with --calibrate")
    sources = _find_sources(adapter, base, name)
    chosen_task = None if task is None else load_task(task)
    if adapter_only:
        from ner_edge.export.lora_gguf import export_adapter

        if sources.adapter is None or quant or card or modelfile:
            raise UsageError(
                "--adapter-only needs an adapter, and takes no --quant, --card or --modelfile"
            )
        path = out / f"{sources.name or sources.adapter.resolve().name}-lora.gguf"
        print(export_adapter(sources.base, sources.adapter, path, chosen_task))
        return
    with progress_bar("export") as update:
        paths = export_model(
            sources.base,
            sources.adapter,
            out,
            levels,
            task=chosen_task,
            name=sources.name,
            calibration=calibration,
            recipes=recipes,
            sizes=sizes,
            max_losses=max_loss or [],
            card=card,
            modelfile=modelfile,
            threads=threads,
            read=[path for path in (calibrate, *(recipe or [])) if path],
            progress=lambda stage, done, total: update(done, total, label=stage),
        )
    for path in paths:
        print(path)


class _Sources(NamedTuple):
    """Where base and adapter lie, and the name of the files, None if it follows from them."""

    base: Path
    adapter: Path | None
    name: str | None


def _find_sources(adapter: str | None, base: str | None, name: str | None) -> _Sources:
    """What the user means by an adapter, a whole model, a base, or two of them."""
    from ner_edge.models.resolve import (
        base_of,
        is_adapter,
        is_hub_id,
        resolve_base,
        resolve_folder,
    )

    source = adapter or base
    if source is None:
        raise UsageError("give an adapter's folder, or --base to export a base model alone")
    if is_hub_id(source):
        name = name or source.partition("/")[2]  # not that of its folder in the hub's cache
    folder = None if adapter is None else resolve_folder(adapter)
    if folder is None:
        return _Sources(resolve_base(source), None, name)
    if is_adapter(folder) or not (folder / "config.json").is_file():
        return _Sources(resolve_base(base) if base else base_of(folder), folder, name)
    if base is None:
        return _Sources(folder, None, name)  # a model with its adapter merged in
    raise UsageError(f"{adapter}: holds a whole model, not an adapter; leave out --base")
