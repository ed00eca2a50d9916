"""Train with the weights as a quantized file stores them, so that the adapter learns to compensate
for their rounding (LR-QAT: Bondarenko et al. 2024).

The forward pass uses W + scale·B·A + E, where E is the error of rounding W + scale·B·A to the types
of a GGUF file. E is constant between refreshes, so the gradients of A and B are the usual ones.
"""

import time
import zlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.gguf.rounding import needs_importance, round_trip
from ner_edge.gguf.row_order import permute_rows, restore_rows
from ner_edge.shapes import listed
from ner_edge.train.checkpoint import adapter_weights

# q8_0 loses next to nothing, and export rounds to it without llama.cpp if it is the only type.
_EXACT = (
    GGMLQuantizationType.F32,
    GGMLQuantizationType.F16,
    GGMLQuantizationType.BF16,
    GGMLQuantizationType.Q8_0,
)
Weights = NDArray[np.float32]


class Rounding:
    """Round the matrices of a model to the types that they have in a GGUF file.

    `model` is in float32 and has no adapter yet. This object keeps its matrices, so the model needs
    copies for training. Raises `ModelError` if the file has other matrices, or types that cannot be
    rounded to.
    """

    def __init__(self, model: Any, file: GGUFFile, imatrix: Imatrix | None = None) -> None:
        self.file = file
        self._sizes = check_model(file)
        self._imatrix = imatrix or Imatrix()
        self._weights = {
            name.removesuffix(".weight"): weight.detach()
            for name, weight in model.named_parameters()
            if weight.ndim == 2
        }
        tensor = self._sizes.architecture.tensor
        self._names = {module: f"{tensor(module)}.weight" for module in self._weights}
        self._types = _types(file, self._weights, self._names)
        _check_types(file, self._types, self._names, imatrix)
        self.adapter: dict[str, torch.Tensor] = {}
        """The trained tensors as of the last refresh, in float16, as they are saved."""
        self.seconds = 0.0
        """The time of the last refresh."""

    @property
    def types(self) -> str:
        """The number of matrices of each type: `180 Q4_0, 30 Q3_K, 1 Q8_0`."""
        counts = Counter(kind.name for kind in self._types.values())
        return ", ".join(f"{count} {name}" for name, count in counts.most_common())

    @property
    def digest(self) -> str:
        """Eight hex digits that identify the types and the importance matrix."""
        digest = zlib.crc32(repr(self._types).encode())
        for name, sums in self._imatrix.sums.items():
            digest = zlib.crc32(f"{name} {self._imatrix.counts[name]}".encode(), digest)
            digest = zlib.crc32(sums.tobytes(), digest)
        return f"{digest:08x}"

    @property
    def nbytes(self) -> int:
        """The memory of the unrounded weights, in bytes."""
        return sum(weight.nbytes for weight in self._weights.values())

    @property
    def modules(self) -> list[str]:
        """The modules whose weights are rounded at each refresh."""
        return list(self._weights)

    def refresh(self, model: Any, adapter: Mapping[str, torch.Tensor] | None = None) -> None:
        """Set the frozen weights of `model`, a peft model, so that with its adapter they equal the
        rounded ones. `adapter`, if given, replaces the model's own."""
        started = time.perf_counter()
        now = adapter_weights(model) if adapter is None else adapter
        self.adapter = {name: weight.detach().cpu().half() for name, weight in now.items()}

        def set_frozen(module: str) -> None:
            layer = model.get_base_model().get_submodule(module)
            frozen = self.rounded(model, module)
            if pair := self._pair(model, module):
                frozen -= pair[1] @ pair[0]
            weight = getattr(layer, "base_layer", layer).weight
            weight.data.copy_(torch.from_numpy(frozen))

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for _ in pool.map(set_frozen, self._weights):
                pass
        adapted = [module for module in self._weights if self._pair(model, module)]
        self._weights = {
            module: self._weights[module] for module in adapted
        }  # the others never change again
        self.seconds = time.perf_counter() - started

    def rounded(self, model: Any, module: str) -> Weights:
        """Return the weight of `module`, [out, in], as export would store it with the adapter of
        the last refresh: merged in float32, converted to float16, rounded in the file's row
        order."""
        weight, heads = self._weights[module].numpy(), self._heads(module)
        pair = self._pair(model, module)
        if heads:
            weight = permute_rows(weight, heads)
        if pair:
            a, b = pair
            weight = weight + (permute_rows(b, heads) if heads else b) @ a
        half = weight.astype(np.float16).astype(np.float32)
        importance = self._imatrix.means(self._names[module])
        result = round_trip(half, self._types[module], importance)
        return restore_rows(result, heads) if heads else result

    def in_file(self, module: str) -> Weights:
        """Return the weight of `module` in the file, [out, in]."""
        weight, heads = self.file.float32(self._names[module]), self._heads(module)
        return restore_rows(weight, heads) if heads else weight

    def _heads(self, module: str) -> int | None:
        return self._sizes.heads_to_permute(self._names[module])

    def _pair(self, model: Any, module: str) -> tuple[Weights, Weights] | None:
        """A and scale·B of a module as of the last refresh; None if it has no adapter."""
        names = [f"base_model.model.{module}.lora_{half}.default.weight" for half in "AB"]
        if names[0] not in self.adapter:
            return None
        a, b = (self.adapter[name].float().numpy() for name in names)
        layer = model.get_base_model().get_submodule(module)
        return a, b * np.float32(layer.scaling["default"])


def _types(
    file: GGUFFile, weights: Mapping[str, torch.Tensor], names: Mapping[str, str]
) -> dict[str, GGMLQuantizationType]:
    """Return the type of each module's matrix in `file`; `names` are their tensors."""
    modules = {name: module for module, name in names.items()}
    found = {name: info for name, info in file.tensors.items() if len(info.shape) > 1}
    problems = [f"{name} (only in the base)" for name in modules if name not in found]
    problems += [f"{name} (only in the file)" for name in found if name not in modules]
    for name, module in modules.items():
        shape = tuple(weights[module].shape)
        if name in found and found[name].shape != shape:
            problems.append(f"{name} ({found[name].shape} in the file, {shape} in the base)")
    if problems:
        raise ModelError(
            f"{file.path}: was not made from this base; {len(problems)} of the matrices do not "
            f"fit: {listed(problems, '; ')}"
        )
    return {module: found[name].type for name, module in modules.items()}


def _check_types(
    file: GGUFFile,
    types: Mapping[str, GGMLQuantizationType],
    names: Mapping[str, str],
    imatrix: Imatrix | None,
) -> None:
    """Raise `ModelError` unless the matrices can be rounded to `types` with `imatrix`."""
    if not set(types.values()) - set(_EXACT):
        raise ModelError(f"{file.path}: has no low-bit tensors, so there is nothing to recover")
    known = imatrix or Imatrix()
    means = {module: known.means(names[module]) for module in types}
    needy = {types[m].name for m, found in means.items() if found is None}
    needy &= {kind.name for kind in set(types.values()) if needs_importance(kind)}
    data = file.get("ner_edge.calibrated_on")
    if needy or (data and imatrix is None):
        source = f"collected from {data}" if data else f"as {', '.join(sorted(needy))} needs one"
        raise ModelError(
            f"{file.path}: was quantized with an importance matrix, {source}; give it with "
            "--imatrix (export writes it beside the file)"
        )
    for module, found in means.items():
        name = names[module]
        if found is not None and len(found) != (columns := file.tensors[name].shape[1]):
            raise ModelError(
                f"the importance matrix is for another model: it has {len(found)} columns for "
                f"{name}, which has {columns}"
            )
