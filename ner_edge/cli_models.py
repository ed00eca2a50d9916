"""The commands that make and check model files."""

from pathlib import Path
from typing import Annotated

import typer

from ner_edge.errors import UsageError

ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads (physical cores).")]


def export(
    adapter: Annotated[
        str | None,
        typer.Argument(help="A LoRA adapter or a merged model: folder or hub id; or --base alone."),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Its base: a GGUF, a folder, smollm2 or a hub id (as the adapter says)."),
    ] = None,
    quant: Annotated[
        list[str] | None, typer.Option("--quant", "-q", help="Level, like q4_k_m; repeat.")
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(help="Training sentences, or an importance matrix: round with care for them."),
    ] = None,
    recipe: Annotated[
        list[Path] | None, typer.Option(help="TOML with a type for each tensor; repeat.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="Find the best recipe for a file of 80MB, say; repeat.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the files.")] = Path("."),
    name: Annotated[str | None, typer.Option(help="Name of the files (the adapter's).")] = None,
    task: Annotated[
        str | None, typer.Option(help="Task to embed: a name or a TOML file (the adapter's).")
    ] = None,
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
    from ner_edge.models import base_of, is_adapter, is_hub_id, resolve_base
    from ner_edge.progress import progress_bar
    from ner_edge.task import load_task

    recipes = [read_recipe(path) for path in recipe or []]
    levels = quant or ([] if recipes or size else ["q8_0"])
    if levels:
        parse_quants(levels, calibrated=calibrate is not None)
    calibration = None if calibrate is None else read_calibration(calibrate)
    sizes = [parse_size(text) for text in size or []]
    if sizes and not isinstance(calibration, CalibrationSet):
        raise UsageError("--size measures the task's decisions: give sentences with --calibrate")
    source = adapter or base
    if source is None:
        raise UsageError("give an adapter's folder, or --base to export a base model alone")
    if is_hub_id(source):
        name = name or source.partition("/")[2]  # not that of its folder in the hub's cache
    folder = None if adapter is None else _adapter_folder(adapter)
    if folder is None:
        base_path = resolve_base(source)
    elif is_adapter(folder) or not (folder / "config.json").is_file():
        base_path = resolve_base(base or base_of(folder))
    elif base is None:
        base_path, folder = folder, None  # a model with its adapter merged in
    else:
        raise UsageError(f"{adapter}: holds a whole model, not an adapter; leave out --base")
    chosen_task = None if task is None else load_task(task)
    if adapter_only:
        from ner_edge.export.lora_gguf import export_adapter

        if folder is None or quant:
            raise UsageError("--adapter-only needs an adapter, and takes no --quant")
        path = out / f"{name or folder.resolve().name}-lora.gguf"
        print(export_adapter(base_path, folder, path, chosen_task))
        return
    with progress_bar("export") as update:
        paths = export_model(
            base_path,
            folder,
            out,
            levels,
            task=chosen_task,
            name=name,
            calibration=calibration,
            recipes=recipes,
            sizes=sizes,
            threads=threads,
            progress=lambda stage, done, total: update(done, total, label=stage),
        )
    for path in paths:
        print(path)


def _adapter_folder(name: str) -> Path:
    from ner_edge.models import fetch_path, is_hub_id

    path = fetch_path(name) if is_hub_id(name) else Path(name)
    if not path.is_dir():
        raise UsageError(f"{name}: no such adapter folder, and not a hub id")
    return path


def verify(
    model: Annotated[str, typer.Argument(help="A GGUF by path, or conll2003-135m[:quant].")],
    manifest: Annotated[
        bool, typer.Option("--manifest", help="Write what was found to a JSON file beside it.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Check that a model file is whole, is the one of its record, and works here (else exit 1)."""
    from ner_edge.export.verify import verify as checks_of
    from ner_edge.export.verify import write_manifest
    from ner_edge.models import resolve_model
    from ner_edge.progress import progress_bar

    path = resolve_model(model)
    checks = []
    with progress_bar("verifying") as update:
        for check in checks_of(path, threads=threads, progress=update):
            print(check, flush=True)
            checks.append(check)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
    if manifest:
        print(write_manifest(path, checks))
