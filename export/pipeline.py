"""Base plus adapter to GGUF files at any number of quantization levels, in one run."""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path

from gguf import GGUFValue

from ner_edge import __version__
from ner_edge.atomic import check_disk_space, make_folder, remove_abandoned, scratch_folder
from ner_edge.errors import ModelError, UsageError
from ner_edge.export.adapter import Adapter, open_adapter
from ner_edge.export.base import Base, open_gguf_base
from ner_edge.export.calibration import CalibrationSet
from ner_edge.export.hf_base import open_hf_base
from ner_edge.export.merge import merge
from ner_edge.export.quantize import quantize, quantizing_bytes
from ner_edge.export.quants import QUANTS, Quant, parse_quants
from ner_edge.export.recipe import Recipe
from ner_edge.export.write_gguf import (
    DIRECT,
    F16Overflow,
    model_bytes,
    text_value,
    working_bytes,
    write_models,
)
from ner_edge.imatrix import Imatrix
from ner_edge.memory import check_memory
from ner_edge.task import GGUF_KEY, Task, load_saved_task

Progress = Callable[[str, int, int], None]


def export_model(
    base: Path,
    adapter: Path | None,
    out_dir: Path,
    quants: Sequence[str],
    *,
    task: Task | None = None,
    name: str | None = None,
    calibration: Imatrix | CalibrationSet | None = None,
    recipes: Sequence[Recipe] = (),
    sizes: Sequence[int] = (),
    progress: Progress | None = None,
    threads: int | None = None,
) -> list[Path]:
    """Write `out_dir/{name}-{quant}.gguf` for each level in `quants`, and for each recipe, and
    return their paths.

    `base` is a Hugging Face folder or a GGUF file, `adapter` a peft LoRA folder. The task embedded
    is `task`, else the one saved beside the adapter or model, else the base's own. `name` defaults
    to the adapter's, else the base's name. `progress(stage, done, total)` counts tensors; stages
    are `merge` and the quantized levels. `threads` None means all. Each file appears complete or
    not at all.

    With a `calibration`, rounding is weighted by the importance of each weight's inputs, and the
    importance matrix is written beside the files. Each of `sizes`, in bytes, asks for the recipe
    that does the least damage to the task's decisions in a file of that size, and for both; it
    needs right answers to calibrate on.

    Raises `UsageError` for an unknown level, `ModelError` if base and adapter are damaged or do not
    fit, `NerEdgeError` if the disk is full or llama.cpp fails.
    """
    only_mixed = not quants and (recipes or sizes)
    levels = [] if only_mixed else parse_quants(quants, calibrated=calibration is not None)
    workers = threads or os.cpu_count() or 1
    report = progress or (lambda stage, done, total: None)

    def stage(label: str) -> Callable[[int, int], None]:
        return lambda done, total: report(label, done, total)

    model = open_base(base)
    lora = None if adapter is None else open_adapter(adapter, model)
    merged = model if lora is None else merge(model, lora)
    name = name or _default_name(base, adapter)
    if Path(name).name != name:
        raise UsageError(f"name '{name}' must not hold a path")
    if task is None:
        task = _known_task(model, adapter)
    if task is None and isinstance(calibration, CalibrationSet):
        raise UsageError("calibration needs the task that the model was trained for; give --task")
    extra = _provenance(model, lora, task)

    make_folder(out_dir)
    remove_abandoned(out_dir, name)
    paths = {level.name: out_dir / f"{name}-{level.name}.gguf" for level in levels}
    direct = {paths[level.name]: level for level in levels if level.name in DIRECT}
    native = [level for level in levels if level.name not in DIRECT]
    mixed = bool(recipes) or isinstance(calibration, CalibrationSet)
    with ExitStack() as stack:
        source = next((paths[n] for n in ("f32", "f16") if n in paths), None)
        intermediate = None
        scratch = stack.enter_context(scratch_folder(out_dir, name))
        if (native or mixed) and source is None:
            source = intermediate = scratch / "f16.gguf"
            direct[source] = QUANTS["f16"]
        mixes = [QUANTS["q8_0"]] * (len(recipes) + len(sizes))
        needed = sum(_size(merged, level) for level in [*direct.values(), *native, *mixes])
        check_disk_space(out_dir, needed)
        largest = max(prod(tensor.shape) for tensor in merged.tensors.values())
        check_memory(
            max(working_bytes(workers), quantizing_bytes(largest) if native or mixed else 0)
        )

        try:
            write_models(merged, direct, name, extra, stage("merge"), workers, intermediate)
        except F16Overflow:
            if source is None or source in paths.values():
                raise  # the user asked for f16
            direct[source] = QUANTS["f32"]
            check_disk_space(out_dir, needed + _size(merged, QUANTS["f16"]))
            write_models(merged, direct, name, extra, stage("merge"), workers, intermediate)
        if source is None:
            return list(paths.values())
        importance, facts = None, {}
        if isinstance(calibration, Imatrix):
            importance, facts = scratch / "imatrix.gguf", _calibrated_on(calibration)
            calibration.save(importance)
        elif calibration is not None:
            assert task is not None
            imatrix, found = _calibrate(source, task, calibration, sizes, threads, stage)
            importance, facts = out_dir / f"{name}-imatrix.gguf", _calibrated_on(imatrix)
            imatrix.save(importance)
            for recipe in found:
                recipe.save(out_dir / f"{name}-{recipe.name}.toml")
            recipes = [*recipes, *found]
        for level in native:
            quantize(
                source,
                paths[level.name],
                level,
                threads,
                stage(level.name),
                imatrix=importance,
                facts=facts,
            )
        for recipe in recipes:
            path = paths[recipe.name] = out_dir / f"{name}-{recipe.name}.gguf"
            quantize(
                source,
                path,
                QUANTS["q8_0"],
                threads,
                stage(recipe.name),
                imatrix=importance,
                types=recipe.types,
                facts={**facts, "ner_edge.recipe": recipe.name},
            )
    return list(paths.values())


def _calibrate(
    source: Path,
    task: Task,
    data: CalibrationSet,
    sizes: Sequence[int],
    threads: int | None,
    stage: Callable[[str], Callable[[int, int], None]],
) -> tuple[Imatrix, list[Recipe]]:
    """What the weights of `source` see of `data`, and the best recipe for each of `sizes`."""
    from ner_edge.export.calibrate import collect_imatrix
    from ner_edge.export.sensitivity import recipes_for_sizes

    progress = stage("calibrate")
    imatrix = collect_imatrix(source, task, data, threads=threads, progress=progress)
    if not sizes:
        return imatrix, []
    progress = stage("measure")
    return imatrix, recipes_for_sizes(
        source, task, imatrix, data, sizes, threads=threads, progress=progress
    )


def _calibrated_on(imatrix: Imatrix) -> dict[str, str]:
    return {"ner_edge.calibrated_on": imatrix.dataset}


def open_base(path: Path) -> Base:
    """A base from a Hugging Face folder or a GGUF file. Raises `ModelError` if it is neither."""
    if not path.exists():
        raise ModelError(f"{path}: no such base model (give a model folder or a GGUF file)")
    return open_hf_base(path) if path.is_dir() else open_gguf_base(path)


def _size(model: Base, level: Quant) -> int:
    """About how large the file becomes, rather too large than too small."""
    bits = level.bits_per_weight
    if level.name not in DIRECT:
        bits *= 1.15  # small models: the embedding, kept at more bits, weighs more
        if any(tensor.shape[-1] % 256 for tensor in model.tensors.values()):
            bits = max(bits, 7.0)  # rows that k-quants do not fit fall back to larger types
    return model_bytes(list(model.tensors.values()), bits)


def _default_name(base: Path, adapter: Path | None) -> str:
    if adapter is not None:
        return adapter.resolve().name
    return base.resolve().name.removesuffix(".gguf")


def _known_task(model: Base, adapter: Path | None) -> Task | None:
    folder = adapter or model.path
    saved = load_saved_task(folder) if folder.is_dir() else None
    if saved is not None or GGUF_KEY not in model.metadata:
        return saved
    value = model.metadata[GGUF_KEY].value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return Task.from_json(text, str(model.path))


def _provenance(model: Base, adapter: Adapter | None, task: Task | None) -> dict[str, GGUFValue]:
    """What was made of what, for the metadata."""
    facts = {"ner_edge.version": __version__}
    if model.path.is_file():
        with model.path.open("rb") as file:
            facts["ner_edge.base_sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    if adapter is not None:
        facts["ner_edge.adapter_sha256"] = adapter.sha256
    if task is not None:
        facts[GGUF_KEY] = task.to_json()
    return {key: text_value(value) for key, value in facts.items()}
