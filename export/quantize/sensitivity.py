"""Measure how sensitive the decisions of a model are to the quantization of each of its parts.

Matrices of different kinds and layers tolerate rounding differently. They are therefore grouped by
kind and by third of the layers, each group is quantized alone, and the KL divergence of the
automaton's decisions from the full-precision model's is measured. Within a group, a matrix's share
of the divergence is assumed to be proportional to its rounding error, weighted by the importance
matrix.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from ner_edge.export.quantize.choose_types import Choice
from ner_edge.export.quantize.llama_quantize import quantize
from ner_edge.export.quantize.types import QUANTS
from ner_edge.files.atomic import scratch_folder
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.metadata import describe
from ner_edge.gguf.rounding import round_trip
from ner_edge.runtime.decisions import Answer, Decision, mean_kl, read_decisions
from ner_edge.runtime.llama import LlamaModel
from ner_edge.task import Task

# The types of a family have kernels that round the inputs alike, which adds to the loss: in blocks
# of 32 for the first family, of 256 for the k-quants. A family is measured with its first type,
# which is small enough to have an effect. q4_1 and q5_1 are left out: they keep sums of inputs in
# 16 bits, which ruined a small model, and llama.cpp has no fast kernels for them.
_FAMILIES = (("q4_0", "iq4_nl", "q5_0", "q8_0"), ("q4_k", "q3_k", "q5_k", "q6_k"))
_BANDS = 3  # of layers
_ROWS = 128  # of a matrix, enough to estimate its rounding error


def measure_choices(
    model: Path,
    task: Task,
    imatrix: Imatrix,
    answers: Sequence[Answer],
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, list[Choice]]:
    """Return the types that each matrix of a 16- or 32-bit GGUF may get, with the expected KL
    divergence of the decisions of `answers`, in nats per decision.

    `progress` gets the groups of matrices done and their total.
    """
    file = GGUFFile(model)
    groups = matrix_groups(file)
    choices: dict[str, list[Choice]] = {}
    with scratch_folder(model.parent, model.stem) as folder:
        trial = _Trial(model, task, imatrix, answers, folder, threads)
        for done, names in enumerate(groups):
            progress(done, len(groups))
            for family in type_families(file, names):
                group_kl = trial.kl(dict.fromkeys(names, family[0]))
                errors = {name: rounding_errors(file, name, family, imatrix) for name in names}
                unit = sum(error[family[0]] for error in errors.values())
                for name in names:
                    shape = file.tensors[name].shape
                    choices.setdefault(name, []).extend(
                        Choice(kind, bytes_as(kind, shape), group_kl * error / unit)
                        for kind, error in errors[name].items()
                    )
        progress(len(groups), len(groups))
    return choices


class _Trial:
    """Quantizes copies of a model and compares their decisions with the model's own."""

    def __init__(
        self,
        model: Path,
        task: Task,
        imatrix: Imatrix,
        answers: Sequence[Answer],
        folder: Path,
        threads: int | None,
    ) -> None:
        self._model = model
        self._task = task
        self._answers = answers
        self._threads = threads
        self._head = describe(model).word_head
        self._imatrix = folder / "imatrix.gguf"
        self._copy = folder / "copy.gguf"
        imatrix.save(self._imatrix)
        self._q8_0 = dict.fromkeys(
            (name for names in matrix_groups(GGUFFile(model)) for name in names), "q8_0"
        )
        self._reference = self._decisions(model)
        self._floor = self._kl({})

    def kl(self, types: Mapping[str, str]) -> float:
        """Return the KL divergence, in nats per decision, beyond that of a copy all in q8_0."""
        return max(self._kl(types) - self._floor, 0.0)

    def _kl(self, types: Mapping[str, str]) -> float:
        quantize(
            self._model,
            self._copy,
            QUANTS["q8_0"],
            self._threads,
            imatrix=self._imatrix,
            tensor_types=self._q8_0 | dict(types),
        )
        return mean_kl(self._reference, self._decisions(self._copy))

    def _decisions(self, path: Path) -> list[list[Decision]]:
        llama = LlamaModel(path, context=2048, sequences=9, threads=self._threads, states=True)
        try:
            return list(read_decisions(llama, self._task, self._answers, self._head))
        finally:
            llama.close()


def rounding_errors(
    file: GGUFFile, name: str, kinds: Sequence[str], imatrix: Imatrix
) -> dict[str, float]:
    """Estimate the squared rounding error of a matrix in each type from some of its rows, weighted
    by the importance of each column."""
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


def matrix_groups(file: GGUFFile) -> list[list[str]]:
    """Return the names of the matrices that can be quantized, by kind and third of the layers."""
    layers = 1 + max(int(name.split(".")[1]) for name in file.tensors if name.startswith("blk."))
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, info in file.tensors.items():
        if len(info.shape) == 2 and _fits("q8_0", info.shape):
            groups.setdefault(_group(name, layers), []).append(name)
    return list(groups.values())


def _group(name: str, layers: int) -> tuple[str, ...]:
    if not name.startswith("blk."):
        return (name,)
    _, layer, kind, *_ = name.split(".")
    return kind, str(int(layer) * _BANDS // layers)


def type_families(file: GGUFFile, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the families of types whose blocks fit the rows of all these matrices."""
    return [
        family
        for family in _FAMILIES
        if all(_fits(family[0], file.tensors[name].shape) for name in names)
    ]


def bytes_as(kind: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of a matrix in a ggml type."""
    block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]]
    return shape[0] * shape[1] // block * block_bytes


def _fits(kind: str, shape: tuple[int, ...]) -> bool:
    block, _ = GGML_QUANT_SIZES[GGMLQuantizationType[kind.upper()]]
    return shape[-1] % block == 0
