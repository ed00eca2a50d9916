"""Training on the weights that a quantized file would hold, so that the adapter learns to do with
their rounding (LR-QAT: Bondarenko et al. 2024).

Forward passes see W + scale·B·A + E, where E is the error of rounding W + scale·B·A to the types of
a GGUF file. E is a constant between refreshes, so gradients reach A and B straight through it.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf_file import GGUFFile
from ner_edge.gguf_names import MODEL_TYPES, gguf_name, heads_to_permute, permute_rows, restore_rows
from ner_edge.imatrix import Imatrix
from ner_edge.rounding import needs_importance, round_trip
from ner_edge.train.checkpoint import adapter_weights

_LISTED = 8
Weights = NDArray[np.float32]


class Rounding:
    """The rounding of a GGUF file's types, to be done to a model of the same shapes.

    Made of a float32 `model` without an adapter, whose weights it copies; then the model may be
    cast and an adapter added. Raises `ModelError` if the file's tensors are not the model's.
    """

    def __init__(self, model: Any, file: GGUFFile, imatrix: Imatrix | None = None) -> None:
        self._config = model.config
        self._imatrix = imatrix or Imatrix()
        self._weights = {
            name.removesuffix(".weight"): weight.detach().to("cpu", torch.float32, copy=True)
            for name, weight in model.named_parameters()
            if weight.ndim == 2
        }
        self._types = _types(file, self._weights)
        needy = {kind.name for kind in self._types.values() if needs_importance(kind)}
        if needy and imatrix is None:
            raise ModelError(
                f"{file.path}: {', '.join(sorted(needy))} cannot be rounded to without an "
                "importance matrix; give that of its export with --imatrix"
            )
        self.adapter: dict[str, torch.Tensor] = {}
        """The trained tensors, in float16 as they are saved, at the last `refresh`."""

    def refresh(self, model: Any, adapter: Mapping[str, torch.Tensor] | None = None) -> None:
        """Let the frozen weights of `model` (a peft model) be those that, with its adapter, are the
        rounded ones; rounded as of `adapter`, if given, else as of now."""
        now = adapter_weights(model) if adapter is None else adapter
        self.adapter = {name: weight.detach().cpu().half() for name, weight in now.items()}
        base = model.get_base_model()

        def set_frozen(module: str) -> None:
            layer = base.get_submodule(module)
            frozen = self.rounded(model, module)
            if (pair := self._pair(layer, module)) is not None:
                frozen -= pair[1] @ pair[0]
            weight = getattr(layer, "base_layer", layer).weight
            weight.data.copy_(torch.from_numpy(frozen))

        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for _ in pool.map(set_frozen, self._weights):
                pass
        adapted = [name for name in self._weights if _adapter_name(name, "A") in self.adapter]
        self._weights = {name: self._weights[name] for name in adapted}  # the rest never changes

    def rounded(self, model: Any, module: str) -> Weights:
        """The weight of `module` with its adapter as of the last refresh, as the file would hold
        it: merged in float32, in float16 on the way, rounded in the file's order of rows."""
        name = f"{gguf_name(module)}.weight"
        weight, pair = self._weights[module].numpy(), None
        pair = self._pair(model.get_base_model().get_submodule(module), module)
        heads = heads_to_permute(
            MODEL_TYPES[self._config.model_type],
            name,
            self._config.num_attention_heads,
            self._config.num_key_value_heads,
        )
        if heads:
            weight = permute_rows(weight, heads)
        if pair is not None:
            a, b = pair
            weight = weight + (permute_rows(b, heads) if heads else b) @ a
        importance = self._imatrix.means(name)
        through = weight.astype(np.float16).astype(np.float32)
        result = round_trip(through, self._types[module], importance)
        return restore_rows(result, heads) if heads else result

    def _pair(self, layer: Any, module: str) -> tuple[Weights, Weights] | None:
        """A and scale·B of a module's adapter."""
        if _adapter_name(module, "A") not in self.adapter:
            return None
        a, b = (self.adapter[_adapter_name(module, half)].float().numpy() for half in "AB")
        return a, b * np.float32(layer.scaling["default"])


def _adapter_name(module: str, half: str) -> str:
    return f"base_model.model.{module}.lora_{half}.default.weight"


def _types(file: GGUFFile, weights: Mapping[str, torch.Tensor]) -> dict[str, GGMLQuantizationType]:
    """The type that `file` holds each matrix in, by module."""
    names = {f"{gguf_name(module)}.weight": module for module in weights}
    found = {name: info for name, info in file.tensors.items() if len(info.shape) == 2}
    problems = [f"{name} (not in the file)" for name in names if name not in found]
    problems += [f"{name} (not in the base)" for name in found if name not in names]
    for name, module in names.items():
        if name in found and found[name].shape != (shape := tuple(weights[module].shape)):
            problems.append(f"{name} ({found[name].shape} in the file, {shape} in the base)")
    if problems:
        shown = problems[:_LISTED]
        more = [f"and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        raise ModelError(
            f"{file.path}: was not made from this base; {len(problems)} of its tensors do not fit: "
            f"{'; '.join(shown + more)}"
        )
    return {module: found[name].type for name, module in names.items()}
