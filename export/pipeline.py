"""Base plus adapter to GGUF files at any number of quantization levels, in one run."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ner_edge.errors import NerEdgeWarning, UsageError
from ner_edge.export.describe.card import card_path, model_card
from ner_edge.export.describe.manifest import FileFacts, Manifest, descriptions, manifest_path
from ner_edge.export.describe.modelfile import modelfile, modelfile_path
from ner_edge.export.plan import Plan, plan_files
from ner_edge.export.quantize.calibration import CalibrationSet
from ner_edge.export.quantize.llama_quantize import quantize
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.quantize.types import QUANTS, Quant, parse_quants
from ner_edge.export.read.source import Source, open_source
from ner_edge.export.staging import Staging
from ner_edge.export.verify.integrity import read_whole
from ner_edge.export.verify.tokens import check_tokens
from ner_edge.export.write_gguf import F16Overflow, write_models
from ner_edge.files.atomic import exclusive, make_folder, remove_abandoned, scratch_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.metadata import ModelFacts, describe
from ner_edge.task import Task

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
    max_losses: Sequence[float] = (),
    card: bool = False,
    modelfile: bool = False,
    progress: Progress | None = None,
    threads: int | None = None,
    read: Sequence[Path] = (),
) -> list[Path]:
    """Write `out_dir/{name}-{quant}.gguf` for each level in `quants`, and for each recipe, each
    with its manifest, and return their paths.

    `base` is a Hugging Face folder or a GGUF file, `adapter` a peft LoRA folder. The task embedded
    is `task`, else the one saved beside the adapter or model, else the base's own. `name` defaults
    to the adapter's, else the base's name. `progress(stage, done, total)` counts tensors (bytes in
    stage `base`); other stages are `merge`, the quantized levels and `check`. `threads` None means
    all. All files appear together, at the end, each before its manifest; after an error none does,
    and what was there before stays. A second export to the same names is refused meanwhile.

    With a `calibration`, rounding is weighted by the importance of each weight's inputs, and the
    importance matrix is written beside the files. Each of `sizes`, in bytes, asks for the recipe
    that does the least damage to the task's decisions in a file of that size, and for the file;
    each of `max_losses`, in millinats of divergence a decision, for the smallest recipe that is
    predicted to do no more damage. Both need right answers to calibrate on.

    `card` adds a Markdown model card, `modelfile` an Ollama Modelfile for each file. No file is
    written over one that is read here or, as `read`, was by the caller.

    Raises `UsageError` for an unknown level, `ModelError` if base and adapter are damaged or do not
    fit, `NerEdgeError` if the disk is full or llama.cpp fails.
    """
    only_mixed = not quants and (recipes or sizes or max_losses)
    levels = [] if only_mixed else parse_quants(quants, calibrated=calibration is not None)
    report = progress or (lambda stage, done, total: None)
    source = open_source(base, adapter, task, lambda *count: report("base", *count))
    name = name or source.name
    has_data = isinstance(calibration, CalibrationSet)
    _check_usage(name, source.task, has_data, modelfile)

    make_folder(out_dir)
    busy = (
        f"{out_dir / name}: another export is writing files of this name; wait for it, or choose "
        "another --name"
    )
    with (
        exclusive(out_dir / name, busy),
        scratch_folder(out_dir, name) as scratch,
        Staging([*source.files, *read]) as staging,
    ):
        remove_abandoned(out_dir, name)
        mixes = len(recipes) + len(sizes) + len(max_losses)
        plan = plan_files(out_dir, name, levels, mixes, has_data, scratch)
        plan.check_room(source.merged, threads or os.cpu_count() or 1)
        page = card_path(out_dir, name) if card else None
        if page:
            staging.add(page)
        run = _Run(source, plan, scratch, staging, page, modelfile, report, threads)
        run.write_direct()
        if plan.reference is not None:
            rounding = run.calibrate(plan.reference, calibration, sizes, max_losses)
            for level in plan.native:
                run.quantize(plan.reference, level, rounding)
            for recipe in [*recipes, *rounding.recipes]:
                run.quantize(plan.reference, QUANTS["q8_0"], rounding, recipe)
        paths = [plan.path(level.name) for level in levels]
        paths += [path for path in run.made if path not in paths]
        if page:
            staging.write(page, model_card(source, name, [run.made[path] for path in paths]))
    return paths


def _check_usage(name: str, task: Task | None, has_data: bool, modelfile: bool) -> None:
    if Path(name).name != name:
        raise UsageError(f"name '{name}' must not hold a path")
    if task is None and has_data:
        raise UsageError("calibration needs the task that the model was trained for; give --task")
    if task is None and modelfile:
        raise UsageError("a Modelfile holds the prompt of the model's task; give --task")


@dataclass(frozen=True)
class _Rounding:
    """What is known about the weights when they are rounded: nothing, or an importance matrix and
    what it was collected from; and the recipes that were found."""

    imatrix: Path | None = None
    calibration: dict[str, str] = field(default_factory=dict)
    recipes: list[Recipe] = field(default_factory=list)


@dataclass(frozen=True)
class _Run:
    """One export under way. `made` are the models that are whole, with their manifests."""

    source: Source
    plan: Plan
    scratch: Path
    staging: Staging
    card: Path | None
    modelfile: bool
    report: Progress
    threads: int | None
    made: dict[Path, tuple[ModelFacts, Manifest]] = field(default_factory=dict)

    def write_direct(self) -> None:
        """Write what is made from the weights themselves."""
        plan = self.plan
        for path in plan.direct:
            if path != plan.intermediate:
                self._add(path)
        try:
            self._write_models()
        except F16Overflow:
            if plan.intermediate is None:
                raise  # the user asked for f16
            plan.direct[plan.intermediate] = QUANTS["f32"]
            plan.check_room(self.source.merged, self._workers)
            self._write_models()
        for path in plan.direct:
            if path != plan.intermediate:
                self._record(path)

    def calibrate(
        self,
        reference: Path,
        calibration: Imatrix | CalibrationSet | None,
        sizes: Sequence[int],
        max_losses: Sequence[float],
    ) -> _Rounding:
        """Collect, or only save, the importance matrix, and find the recipes asked for."""
        if calibration is None:
            return _Rounding()
        if isinstance(calibration, Imatrix):
            path = self.scratch / "imatrix.gguf"
            calibration.save(path)
            return _Rounding(path, _calibrated_on(calibration, path))
        from ner_edge.export.quantize.calibrate import collect_imatrix
        from ner_edge.export.quantize.sensitivity import find_recipes

        task = self.source.task
        assert task is not None
        settings: dict[str, Any] = {"threads": self.threads}
        reference = self.staging.written(reference)
        imatrix = collect_imatrix(
            reference, task, calibration, progress=self._stage("calibrate"), **settings
        )
        path = self.staging.add(self.plan.path("imatrix"))
        recipes = []
        if sizes or max_losses:
            settings |= {"sizes": sizes, "losses": max_losses, "progress": self._stage("measure")}
            recipes = find_recipes(reference, task, imatrix, calibration, **settings)
        imatrix.save(path)
        for recipe in recipes:
            path_of_recipe = self.plan.path(recipe.name).with_suffix(".toml")
            self.staging.add(path_of_recipe)
            self.staging.write(path_of_recipe, recipe.to_toml())
        return _Rounding(path, _calibrated_on(imatrix, path), recipes)

    def quantize(
        self, reference: Path, level: Quant, rounding: _Rounding, recipe: Recipe | None = None
    ) -> None:
        """Write one file at a level, or by a recipe that names a type for some tensors."""
        path = self.plan.path(recipe.name if recipe else level.name)
        facts = {}
        if rounding.calibration:
            facts["ner_edge.calibrated_on"] = rounding.calibration["data"]
        if recipe is not None:
            facts["ner_edge.recipe"] = recipe.name
        quantize(
            self.staging.written(reference),
            self._add(path),
            level,
            self.threads,
            self._stage(recipe.name if recipe else level.name),
            imatrix=rounding.imatrix,
            types=recipe.types if recipe else None,
            facts=facts,
        )
        self._record(path, rounding, recipe)

    def _add(self, path: Path) -> Path:
        """Where to write a model; its descriptions are to get their names after it."""
        self.staging.add(manifest_path(path))
        if self.modelfile:
            self.staging.add(modelfile_path(path))
        return self.staging.add(path, [*descriptions(path), *([self.card] if self.card else [])])

    def _write_models(self) -> None:
        targets = {self.staging.written(path): level for path, level in self.plan.direct.items()}
        write_models(
            self.source.merged,
            targets,
            self.plan.name,
            self.source.metadata(),
            self._stage("merge"),
            self._workers,
        )

    def _record(
        self, path: Path, rounding: _Rounding | None = None, recipe: Recipe | None = None
    ) -> None:
        """Look at a file as it lies on the disk, load it, and describe it."""
        from ner_edge.runtime.trial import ensure_loadable

        written = self.staging.written(path)
        integrity = read_whole(written, self._stage("check"))
        ensure_loadable(written, integrity.sha256)
        tokens = check_tokens(written, self.source.base.path)
        merged = self.source.check_merged()
        checks = [integrity.finite, *([merged] if merged else []), tokens]
        for check in checks:
            if check.ok is False:
                warnings.warn(f"{path}: {check}", NerEdgeWarning, stacklevel=2)
        made_of = dict(self.source.made_of())
        if rounding and rounding.calibration:
            made_of["calibration"] = rounding.calibration
        if recipe:
            made_of["recipe"] = recipe.facts()
        facts = replace(describe(written), path=path)
        manifest = Manifest(FileFacts.of(facts), integrity.sha256, made_of, checks)
        self.staging.write(manifest_path(path), manifest.to_json())
        if self.modelfile:
            self.staging.write(modelfile_path(path), modelfile(facts))
        self.made[path] = (facts, manifest)

    def _stage(self, label: str) -> Callable[[int, int], None]:
        return lambda done, total: self.report(label, done, total)

    @property
    def _workers(self) -> int:
        return self.threads or os.cpu_count() or 1


def _calibrated_on(imatrix: Imatrix, path: Path) -> dict[str, str]:
    facts = {"data": imatrix.dataset}
    if imatrix.dataset_sha256:
        facts["sha256"] = imatrix.dataset_sha256
    return {**facts, "imatrix_sha256": sha256_of(path)}
