"""Export a base and an adapter to GGUF files of several quantization types in one run."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ner_edge.errors import NerEdgeWarning, UsageError
from ner_edge.export.describe.card import card_path, model_card
from ner_edge.export.describe.manifest import (
    FileRecord,
    Manifest,
    Provenance,
    descriptions,
    manifest_path,
)
from ner_edge.export.describe.modelfile import check_name, modelfile, modelfile_path
from ner_edge.export.plan import Plan, plan_files
from ner_edge.export.quantize.collect_imatrix import ImatrixData, collect_imatrix
from ner_edge.export.quantize.llama_quantize import quantize
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.quantize.types import QUANTS, Quant
from ner_edge.export.read.source import Source, open_source
from ner_edge.export.request import ExportRequest
from ner_edge.export.staging import Staging
from ner_edge.export.verify.integrity import check_integrity
from ner_edge.export.verify.tokens import check_tokens
from ner_edge.export.write_gguf import F16Overflow, write_models
from ner_edge.files.atomic import exclusive, make_folder, remove_abandoned, scratch_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.metadata import ModelMetadata, describe
from ner_edge.task import Task

Progress = Callable[[str, int, int], None]


def export_model(
    base: Path, adapter: Path | None, request: ExportRequest, progress: Progress | None = None
) -> list[Path]:
    """Write the model files of a request, each with its manifest, and return their paths.

    `base` is a Hugging Face folder or a GGUF file, `adapter` a peft LoRA folder.
    `progress(stage, done, total)` counts tensors, but bytes in the stage `base`, and sentences in
    the stage `imatrix`. All files appear together at the end; after an error none does, and
    existing files stay as they were. Until then, another export to the same name is refused.

    Raises `UsageError` if the task is missing, `ModelError` if base or adapter is damaged or they
    do not fit each other, `NerEdgeError` if the disk is full or llama.cpp fails.
    """
    report = progress or (lambda stage, done, total: None)
    source = open_source(base, adapter, request.task, partial(report, "base"))
    _check_request(request, source)
    folder, name = request.folder, request.name or source.name
    make_folder(folder)
    busy = (
        f"{folder / name}: another export is writing files of this name; wait for it to finish, or "
        "choose another --name"
    )
    with (
        exclusive(folder / name, busy),
        scratch_folder(folder, name) as scratch,
        Staging([*source.files, *request.inputs]) as staging,
    ):
        remove_abandoned(folder, name)
        plan = plan_files(request, name, scratch)
        plan.check_room(source.merged, request.workers)
        return _Export(request, source, plan, scratch, staging, report).run()


def _check_request(request: ExportRequest, source: Source) -> None:
    if source.task is None and isinstance(request.imatrix, ImatrixData):
        raise UsageError("--imatrix needs the task that the model was trained for; give --task")
    if source.task is None and request.modelfile:
        raise UsageError("a Modelfile contains the prompt of the model's task: give --task")
    if request.modelfile:
        for name in (request.name or source.name, *(recipe.name for recipe in request.recipes)):
            check_name(name)


@dataclass(frozen=True)
class _ImatrixFile:
    """An importance matrix on disk, and its provenance."""

    path: Path
    provenance: dict[str, str]


@dataclass(frozen=True)
class _Export:
    """An export in progress. `made` holds the files that are complete, with their manifests."""

    request: ExportRequest
    source: Source
    plan: Plan
    scratch: Path
    staging: Staging
    report: Progress
    made: dict[Path, tuple[ModelMetadata, Manifest]] = field(default_factory=dict)

    def run(self) -> list[Path]:
        if self._card:
            self.staging.add(self._card)
        self._write_direct()
        if self.plan.reference is not None:
            self._quantize_all(self.staging.written(self.plan.reference))
        paths = [self.plan.path(quant.name) for quant in self.request.types]
        paths += [path for path in self.made if path not in paths]
        if self._card:
            files = [self.made[path] for path in paths]
            self.staging.write(self._card, model_card(self.source, self.plan.name, files))
        return paths

    @property
    def _card(self) -> Path | None:
        return card_path(self.plan.folder, self.plan.name) if self.request.card else None

    @property
    def _task(self) -> Task:
        assert self.source.task is not None, "checked before the export began"
        return self.source.task

    def _stage(self, name: str) -> Callable[[int, int], None]:
        return partial(self.report, name)

    def _write_direct(self) -> None:
        """Write the files that are made directly from the weights."""
        wanted = [path for path in self.plan.direct if path != self.plan.intermediate]
        for path in wanted:
            self._add(path)
        try:
            self._write_models()
        except F16Overflow:
            if self.plan.intermediate is None:
                raise  # the user asked for f16
            self.plan.direct[self.plan.intermediate] = QUANTS["f32"]
            self.plan.check_room(self.source.merged, self.request.workers)
            self._write_models()
        for path in wanted:
            self._describe(path, self.source.provenance())

    def _write_models(self) -> None:
        targets = {self.staging.written(path): quant for path, quant in self.plan.direct.items()}
        write_models(
            self.source.merged,
            targets,
            self.plan.name,
            self.source.metadata(),
            self._stage("merge"),
            self.request.workers,
        )

    def _quantize_all(self, reference: Path) -> None:
        """Write the files that llama.cpp makes from the reference."""
        imatrix, found = self._prepare_imatrix(reference)
        for quant in self.plan.quantized:
            self._quantize(reference, quant, imatrix)
        for recipe in (*self.request.recipes, *found):  # tensors that it does not name get q8_0
            self._quantize(reference, QUANTS["q8_0"], imatrix, recipe)

    def _prepare_imatrix(self, reference: Path) -> tuple[_ImatrixFile | None, list[Recipe]]:
        """Save the importance matrix, collecting it first from data, and find recipes with it."""
        imatrix = self.request.imatrix
        if imatrix is None:
            return None, []
        if isinstance(imatrix, Imatrix):
            path = self.scratch / "imatrix.gguf"
            imatrix.save(path)
            return _imatrix_file(imatrix, path), []
        collected = collect_imatrix(
            reference,
            self._task,
            imatrix,
            threads=self.request.threads,
            progress=self._stage("imatrix"),
        )
        path = self.staging.add(self.plan.path("imatrix"))
        recipes = self._find_recipes(reference, collected, imatrix)
        collected.save(path)
        return _imatrix_file(collected, path), recipes

    def _find_recipes(self, reference: Path, imatrix: Imatrix, data: ImatrixData) -> list[Recipe]:
        """Find and write the recipes for the sizes and losses asked for."""
        if not self.request.sizes and not self.request.max_losses:
            return []
        from ner_edge.export.quantize.find_recipes import find_recipes

        recipes = find_recipes(
            reference,
            self._task,
            imatrix,
            data,
            sizes=self.request.sizes,
            max_losses=self.request.max_losses,
            threads=self.request.threads,
            progress=self._stage("measure"),
        )
        for recipe in recipes:
            path = self.plan.path(recipe.name).with_suffix(".toml")
            self.staging.add(path)
            self.staging.write(path, recipe.to_toml())
        return recipes

    def _quantize(
        self,
        reference: Path,
        quant: Quant,
        imatrix: _ImatrixFile | None,
        recipe: Recipe | None = None,
    ) -> None:
        """Write one file, with the types that a recipe names for single tensors, if any."""
        name = recipe.name if recipe else quant.name
        provenance, metadata = dict(self.source.provenance()), {}
        if imatrix:
            provenance["imatrix"] = imatrix.provenance
            metadata["ner_edge.calibrated_on"] = imatrix.provenance["data"]  # the key's old name
        if recipe:
            provenance["recipe"] = recipe.provenance()
            metadata["ner_edge.recipe"] = recipe.name
        path = self.plan.path(name)
        quantize(
            reference,
            self._add(path),
            quant,
            self.request.threads,
            self._stage(name),
            imatrix=imatrix.path if imatrix else None,
            tensor_types=recipe.types if recipe else None,
            metadata=metadata,
        )
        self._describe(path, provenance)

    def _add(self, path: Path) -> Path:
        """Stage a model; the files that describe it get their names after it."""
        self.staging.add(manifest_path(path))
        if self.request.modelfile:
            self.staging.add(modelfile_path(path))
        return self.staging.add(path, [*descriptions(path), *([self._card] if self._card else [])])

    def _describe(self, path: Path, provenance: Provenance) -> None:
        """Check a file as it is on disk, load it, and write its manifest and Modelfile."""
        from ner_edge.runtime.trial import ensure_loadable

        written = self.staging.written(path)
        integrity = check_integrity(written, self._stage("check"))
        ensure_loadable(written, integrity.sha256)
        merged = self.source.check_merged()
        tokens = check_tokens(written, self.source.base.path)
        checks = [integrity.finite, *([merged] if merged else []), tokens]
        for check in checks:
            if check.ok is False:
                warnings.warn(f"{path}: {check}", NerEdgeWarning, stacklevel=2)
        metadata = replace(describe(written), path=path)
        manifest = Manifest(FileRecord.of(metadata), integrity.sha256, provenance, checks)
        self.staging.write(manifest_path(path), manifest.to_json())
        if self.request.modelfile:
            self.staging.write(modelfile_path(path), modelfile(metadata))
        self.made[path] = (metadata, manifest)


def _imatrix_file(imatrix: Imatrix, path: Path) -> _ImatrixFile:
    provenance = {"data": imatrix.dataset}
    if imatrix.dataset_sha256:
        provenance["data_sha256"] = imatrix.dataset_sha256
    return _ImatrixFile(path, {**provenance, "sha256": sha256_of(path)})
