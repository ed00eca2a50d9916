"""Which files an export writes, how each is made, and what that needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from ner_edge.export.quantize.llama_quantize import quantizing_bytes
from ner_edge.export.quantize.types import QUANTS, Quant
from ner_edge.export.read.base import Base
from ner_edge.export.write_gguf import DIRECT, model_bytes, working_bytes
from ner_edge.files.atomic import check_disk_space
from ner_edge.memory import check_memory


@dataclass
class Plan:
    """Files that are written straight from the weights, in one pass, and those that llama.cpp
    quantizes from one of them, the `reference`."""

    folder: Path
    name: str
    direct: dict[Path, Quant] = field(default_factory=dict)
    native: list[Quant] = field(default_factory=list)
    reference: Path | None = None
    """None if nothing is quantized."""
    mixes: int = 0
    """How many files get a type for each tensor, by a recipe known or to be found."""

    def path(self, level: str) -> Path:
        """Where the file of a level or recipe lies."""
        return self.folder / f"{self.name}-{level}.gguf"

    @property
    def intermediate(self) -> Path | None:
        """The reference, if nobody asked for it."""
        kept = self.reference is None or self.reference.parent == self.folder
        return None if kept else self.reference

    def check_room(self, model: Base, threads: int) -> None:
        """Raises `NerEdgeError` if the disk or the memory is too small."""
        levels = [*self.direct.values(), *self.native, *[QUANTS["q8_0"]] * self.mixes]
        check_disk_space(self.folder, sum(_size(model, level) for level in levels))
        needed = working_bytes(threads)
        if self.reference is not None:
            largest = max(prod(tensor.shape) for tensor in model.tensors.values())
            needed = max(needed, quantizing_bytes(largest))
        check_memory(needed)


def plan_files(
    folder: Path, name: str, levels: Sequence[Quant], mixes: int, calibrates: bool, scratch: Path
) -> Plan:
    """A plan for all `levels` and so many recipes; `calibrates` if a model must be run too.

    The reference is one of `levels` if it can be, else a file in `scratch`.
    """
    plan = Plan(folder, name, mixes=mixes)
    for level in levels:
        if level.name in DIRECT:
            plan.direct[plan.path(level.name)] = level
        else:
            plan.native.append(level)
    if plan.native or mixes or calibrates:
        exact = (plan.path(kind) for kind in ("f32", "f16"))
        plan.reference = next((path for path in exact if path in plan.direct), None)
        if plan.reference is None:
            plan.reference = scratch / "f16.gguf"
            plan.direct[plan.reference] = QUANTS["f16"]
    return plan


def _size(model: Base, level: Quant) -> int:
    """About how large the file becomes, rather too large than too small."""
    bits = level.bits_per_weight
    if level.name not in DIRECT:
        bits *= 1.15  # small models: the embedding, kept at more bits, weighs more
        if any(tensor.shape[-1] % 256 for tensor in model.tensors.values()):
            bits = max(bits, 7.0)  # rows that k-quants do not fit fall back to larger types
    return model_bytes(list(model.tensors.values()), bits)
