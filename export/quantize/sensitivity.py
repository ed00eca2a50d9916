"""What quantizing each part of a model does to its decisions.

Kinds of matrices differ in how much rounding they bear, and so do early and late layers. Each group
is quantized alone and the damage measured where it counts: the divergence of the distributions at
the automaton's decisions from those of the full-precision model. Within a group, damage is taken to
grow with the rounding error, weighted by the importance matrix.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from ner_edge.export.quantize.calibration import CalibrationSet
from ner_edge.export.quantize.llama_quantize import quantize
from ner_edge.export.quantize.recipe import (
    Choice,
    Chosen,
    Recipe,
    best_choices,
    check_size,
    damage_of,
    smallest_choices,
)
from ner_edge.export.quantize.types import QUANTS
from ner_edge.files.atomic import scratch_folder
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.rounding import round_trip
from ner_edge.runtime.decisions import Answer, Decision, mean_kl, read_decisions
from ner_edge.runtime.llama import LlamaModel
from ner_edge.task import Task

# Types by the form that they have inputs rounded to, which does damage of its own: blocks of 32
# inputs for the first, of 256 for the k-quants. Each family is probed with its first type, small
# enough to be felt. q4_1 and q5_1 are left out: they keep sums of inputs in 16 bits, which ruined
# a small model, and llama.cpp has no fast product for them.
_FAMILIES = (("q4_0", "iq4_nl", "q5_0", "q8_0"), ("q4_k", "q3_k", "q5_k", "q6_k"))
_BANDS = 3  # of layers
_ANSWERS = 80  # read for each group
_ROWS = 128  # of a tensor, enough to tell its rounding error


def measure_choices(
    model: Path,
    task: Task,
    imatrix: Imatrix,
    answers: Sequence[Answer],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Choice]]:
    """The types that each matrix of a 16- or 32-bit GGUF may get, with the damage each would do to
    the decisions of `answers`, in nats a decision. `progress` gets groups done and in all."""
    file = GGUFFile(model)
    groups = _groups(file)
    choices: dict[str, list[Choice]] = {}
    with scratch_folder(model.parent, model.stem) as folder:
        importance, probe = folder / "imatrix.gguf", folder / "probe.gguf"
        imatrix.save(importance)

        def read(path: Path) -> list[list[Decision]]:
            llama = LlamaModel(path, context=2048, sequences=9, threads=threads)
            try:
                return list(read_decisions(llama, task, answers))
            finally:
                llama.close()

        def damage(types: dict[str, str]) -> float:
            harmless = dict.fromkeys((name for names in groups.values() for name in names), "q8_0")
            quantize(
                model, probe, QUANTS["q8_0"], threads, imatrix=importance, types=harmless | types
            )
            return mean_kl(reference, read(probe))

        reference = read(model)
        floor = damage({})
        for done, names in enumerate(groups.values()):
            progress(done, len(groups))
            for family in _families(file, names):
                felt = max(damage(dict.fromkeys(names, family[0])) - floor, 0.0)
                errors = {name: rounding_errors(file, name, family, imatrix) for name in names}
                unit = sum(error[family[0]] for error in errors.values())
                for name in names:
                    shape = file.tensors[name].shape
                    choices.setdefault(name, []).extend(
                        Choice(kind, _nbytes(shape, kind), felt * error / unit)
                        for kind, error in errors[name].items()
                    )
        progress(len(groups), len(groups))
    return choices


def rounding_errors(
    file: GGUFFile, name: str, kinds: Sequence[str], imatrix: Imatrix
) -> dict[str, float]:
    """The squared rounding error of a matrix in each type, weighted by the importance of its
    columns; estimated from some rows."""
    rows, columns = file.tensors[name].shape
    step = max(1, rows // _ROWS)
    weights = np.concatenate([file.rows(name, i, i + 1) for i in range(0, rows, step)])
    importance = imatrix.means(name)
    if importance is None or len(importance) != columns:
        importance = np.ones(columns, np.float32)
    errors = {}
    for kind in kinds:
        rounded = round_trip(weights, GGMLQuantizationType[kind.upper()], importance)
        errors[kind] = float((np.square(weights - rounded) @ importance).mean()) * rows
    return errors


def _fits(shape: tuple[int, ...], kind: str) -> bool:
    block, _ = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]]
    return shape[-1] % block == 0


def _nbytes(shape: tuple[int, ...], kind: str) -> int:
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]]
    return shape[0] * shape[1] // block * block_bytes


def _groups(file: GGUFFile) -> dict[str, list[str]]:
    """The matrices that may get another type, by kind and third of the layers."""
    layers = 1 + max(int(name.split(".")[1]) for name in file.tensors if name.startswith("blk."))
    groups: dict[str, list[str]] = {}
    for name, info in file.tensors.items():
        if len(info.shape) == 2 and _fits(info.shape, "q8_0"):
            groups.setdefault(_group(name, layers), []).append(name)
    return groups


def _group(name: str, layers: int) -> str:
    if not name.startswith("blk."):
        return name
    _, layer, kind, *_ = name.split(".")
    return f"{kind} {int(layer) * _BANDS // layers}"


def _families(file: GGUFFile, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Those whose blocks fit the rows of all these matrices."""
    return [
        family
        for family in _FAMILIES
        if all(_fits(file.tensors[name].shape, family[0]) for name in names)
    ]


def find_recipes(
    model: Path,
    task: Task,
    imatrix: Imatrix,
    data: CalibrationSet,
    *,
    sizes: Sequence[int] = (),
    losses: Sequence[float] = (),
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Recipe]:
    """For each of `sizes` the recipe of a file of at most so many bytes that does the least damage
    to the decisions of some of `data`, and for each of `losses` that of the smallest file which
    does at most so much, in millinats a decision. Raises `UsageError` if there is none."""
    file = GGUFFile(model)
    rest = file.size_bytes - sum(
        file.tensors[name].nbytes for names in _groups(file).values() for name in names
    )
    for size in sizes:  # measuring takes minutes
        check_size(_smallest(file), size - rest)
    step = max(1, len(data.answers) // _ANSWERS)
    choices = measure_choices(
        model, task, imatrix, data.answers[::step], threads=threads, progress=progress
    )
    return [
        *(_recipe(f"{size / 1e6:.0f}mb", best_choices(choices, size - rest)) for size in sizes),
        *(_recipe(f"{loss:g}mnat", smallest_choices(choices, loss / 1000)) for loss in losses),
    ]


def _recipe(name: str, chosen: Chosen) -> Recipe:
    types = {tensor: choice.type for tensor, choice in chosen.items()}
    return Recipe(name, types, 1000 * damage_of(chosen))


def _smallest(file: GGUFFile) -> int:
    """Bytes of all matrices in the smallest of the types that they may get."""
    return sum(
        min(_nbytes(file.tensors[name].shape, kind) for kind in chain(*_families(file, names)))
        for names in _groups(file).values()
        for name in names
    )
