"""Plan which files an export writes, how, and the disk space and memory this takes."""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from ner_edge.export.quantize.collect_imatrix import ImatrixData
from ner_edge.export.quantize.llama_quantize import quantizing_bytes
from ner_edge.export.quantize.types import QUANTS, Quant
from ner_edge.export.read.base import Base
from ner_edge.export.request import ExportRequest
from ner_edge.export.write_gguf import DIRECT, model_bytes, working_bytes
from ner_edge.files.atomic import check_disk_space
from ner_edge.memory import check_memory


@dataclass
class Plan:
    """The files written directly from the weights, in one pass, and the types that llama.cpp then
    quantizes from one of them, the `reference`."""

    folder: Path
    name: str
    direct: dict[Path, Quant] = field(default_factory=dict)
    quantized: list[Quant] = field(default_factory=list)
    reference: Path | None = None
    """None if there is nothing to quantize."""
    recipe_count: int = 0

    def path(self, kind: str) -> Path:
        """Return the path of the file with a quantization type or recipe."""
        return self.folder / f"{self.name}-{kind}.gguf"

    @property
    def intermediate(self) -> Path | None:
        """The reference, if it is not one of the files asked for."""
        kept = self.reference is None or self.reference.parent == self.folder
        return None if kept else self.reference

    def check_room(self, model: Base, threads: int) -> None:
        """Raise `NerEdgeError` if there is not enough disk space or memory."""
        quants = [*self.direct.values(), *self.quantized, *[QUANTS["q8_0"]] * self.recipe_count]
        check_disk_space(self.folder, sum(_estimated_bytes(model, quant) for quant in quants))
        needed = working_bytes(threads)
        if self.reference is not None:
            largest = max(prod(tensor.shape) for tensor in model.tensors.values())
            needed = max(needed, quantizing_bytes(largest))
        check_memory(needed)


def plan_files(request: ExportRequest, name: str, scratch: Path) -> Plan:
    """Plan the files of a request. The reference is one of them if possible, else in `scratch`."""
    plan = Plan(request.folder, name, recipe_count=request.recipe_count)
    for quant in request.types:
        if quant.name in DIRECT:
            plan.direct[plan.path(quant.name)] = quant
        else:
            plan.quantized.append(quant)
    if plan.quantized or plan.recipe_count or isinstance(request.imatrix, ImatrixData):
        exact = (plan.path(kind) for kind in ("f32", "f16"))
        plan.reference = next((path for path in exact if path in plan.direct), None)
        if plan.reference is None:
            plan.reference = scratch / "f16.gguf"
            plan.direct[plan.reference] = QUANTS["f16"]
    return plan


def _estimated_bytes(model: Base, quant: Quant) -> int:
    """Return an estimate that errs on the large side."""
    bits = quant.bits_per_weight
    if quant.name not in DIRECT:
        bits *= 1.15  # in small models the embedding, which keeps more bits, is a larger share
        if any(tensor.shape[-1] % 256 for tensor in model.tensors.values()):
            bits = max(bits, 7.0)  # rows that k-quants do not fit fall back to larger types
    return model_bytes(list(model.tensors.values()), bits)
