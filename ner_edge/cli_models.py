"""The commands that make models: training and export."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ner_edge.errors import UsageError, missing_extra

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


def train(
    data: Annotated[Path, typer.Argument(help="Labelled: CoNLL columns, or JSON lines.")],
    base: Annotated[
        str, typer.Option(help="A hub id, a local folder, a GGUF, or smollm2.")
    ] = "smollm2",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapter.")] = Path(
        "adapter"
    ),
    start: Annotated[
        Path | None, typer.Option("--from", help="Folder of an adapter to train further.")
    ] = None,
    dev: Annotated[Path | None, typer.Option(help="Report F1 on this file at the end.")] = None,
    task: Annotated[str, typer.Option(help="A task's name or TOML file.")] = "conll2003",
    preset: Annotated[str, typer.Option(help="paper or edge.")] = "edge",
    config: Annotated[Path | None, typer.Option(help="YAML with settings.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint in --out.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check data and settings, say what it takes, stop.")
    ] = False,
    rank: Annotated[int | None, typer.Option(help="LoRA rank.")] = None,
    alpha: Annotated[int | None, typer.Option(help="LoRA alpha.")] = None,
    epochs: Annotated[float | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    warmup_ratio: Annotated[float | None, typer.Option()] = None,
    weight_decay: Annotated[float | None, typer.Option()] = None,
    max_grad_norm: Annotated[float | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sentences per step.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens per packed sequence.")] = None,
    dtype: Annotated[str | None, typer.Option(help="bfloat16 or float32.")] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Less memory, a third more work.")
    ] = None,
    lowercase: Annotated[
        float | None, typer.Option(help="Share of sentences also trained on in lower case.")
    ] = None,
    checkpoint_every: Annotated[int | None, typer.Option(help="Steps.")] = None,
) -> None:
    """Fine-tune a LoRA adapter on labelled sentences."""
    from ner_edge.progress import progress_bar
    from ner_edge.task import load_task

    flags = {
        "rank": rank,
        "alpha": alpha,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "warmup_ratio": warmup_ratio,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "batch_size": batch_size,
        "max_tokens": max_tokens,
        "dtype": dtype,
        "seed": seed,
        "gradient_checkpointing": gradient_checkpointing,
        "lowercase": lowercase,
        "checkpoint_every": checkpoint_every,
    }
    chosen_task = load_task(task)
    try:
        from ner_edge.train.settings import resolve_settings
    except ImportError as error:
        raise missing_extra("train", error) from None
    settings = resolve_settings(preset, config, flags)
    try:
        from ner_edge.train.preflight import Check
        from ner_edge.train.run import run_training
    except ImportError as error:
        raise missing_extra("train", error) from None
    is_main = os.environ.get("RANK", "0") == "0"  # of the processes that torchrun started
    passed = True

    def say(check: Check) -> None:
        nonlocal passed
        passed &= check.ok
        if is_main:
            lines = [str(check), *(f"  {line}" for line in check.details if dry_run)]
            print("\n".join(lines), file=sys.stdout if dry_run else sys.stderr, flush=True)

    with progress_bar("training") as update:
        f1 = run_training(
            base,
            data,
            dev,
            out,
            chosen_task,
            settings,
            start=start,
            resume=resume,
            dry_run=dry_run,
            say=say,
            update=update,
        )
    if dry_run:
        raise typer.Exit(0 if passed else 1)
    if is_main:
        print(out)
    if f1 is not None:
        print(f"dev strict micro F1 {f1:.2f}")
