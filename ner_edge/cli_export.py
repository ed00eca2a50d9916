"""The commands about model files: export makes them, verify checks them."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ner_edge.cli_options import ThreadsOption
from ner_edge.errors import UsageError
from ner_edge.terminal import printable


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
    from ner_edge.export.calibration import CalibrationSet, read_calibration
    from ner_edge.export.pipeline import export_model
    from ner_edge.export.quants import parse_quants
    from ner_edge.export.recipe import parse_size, read_recipe
    from ner_edge.progress import progress_bar
    from ner_edge.task import load_task

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
    from ner_edge.models import base_of, is_adapter, is_hub_id, resolve_base

    source = adapter or base
    if source is None:
        raise UsageError("give an adapter's folder, or --base to export a base model alone")
    if is_hub_id(source):
        name = name or source.partition("/")[2]  # not that of its folder in the hub's cache
    folder = None if adapter is None else _adapter_folder(adapter)
    if folder is None:
        return _Sources(resolve_base(source), None, name)
    if is_adapter(folder) or not (folder / "config.json").is_file():
        return _Sources(resolve_base(base) if base else base_of(folder), folder, name)
    if base is None:
        return _Sources(folder, None, name)  # a model with its adapter merged in
    raise UsageError(f"{adapter}: holds a whole model, not an adapter; leave out --base")


def _adapter_folder(name: str) -> Path:
    from ner_edge.models import fetch_path, is_hub_id

    path = fetch_path(name) if is_hub_id(name) else Path(name)
    if not path.is_dir():
        raise UsageError(f"{name}: no such adapter folder, and not a hub id")
    return path


def verify(
    model: Annotated[str, typer.Argument(help="A GGUF, or conll2003-135m[:quant].")],
    against: Annotated[
        str | None,
        typer.Option(help="Its base (as for export): compare with that model in torch, float32."),
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="The adapter in it, for --against: folder or hub id.")
    ] = None,
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Add what was found to the JSON file beside it.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Check that a model file is whole, is the one of its manifest, and works here (else exit 1).

    With --against, also that it computes what base and adapter compute in torch: a file in f32,
    f16 or bf16 must be near; for a quantized one the figures are only shown.
    """
    from ner_edge.export.verify import Verification
    from ner_edge.models import resolve_base, resolve_model
    from ner_edge.progress import progress_bar

    if adapter is not None and against is None:
        raise UsageError("--adapter belongs to --against: give the base too")
    with progress_bar("verifying") as update:
        verification = Verification(
            resolve_model(model),
            against=None if against is None else resolve_base(against),
            adapter=None if adapter is None else _adapter_folder(adapter),
            threads=threads,
            progress=update,
        )
        for check in verification:
            print(printable(str(check), keep=""), flush=True)
    if not verification.passed:
        raise typer.Exit(1)
    if manifest:
        print(verification.record())
