"""A LoRA adapter as peft saves it, read without peft.

Format: https://huggingface.co/docs/peft/main/en/developer_guides/checkpoint. A weight's delta is
`(alpha / r) · B · A` (Hu et al. 2021), or `(alpha / sqrt(r)) · B · A` with rslora (Kalajdzievski
2023).
"""

import re
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.export.read.base import Base, Tensor
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.row_order import permuted_rows
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE, AdapterConfig, read_adapter_config
from ner_edge.hf.safetensors import SafetensorsFile
from ner_edge.shapes import listed

_PREFIX = "base_model.model."


@dataclass(frozen=True)
class LoraPair:
    """The update of one weight: `scale · B · A` with A `(r, in)` and B `(out, r)`, in GGUF's row
    order."""

    tensor: str
    scale: float
    a_name: str
    b_name: str
    permuted_heads: int | None
    file: SafetensorsFile

    def a(self) -> NDArray[np.float32]:
        """Return A, `(r, in)`."""
        return self.file.float32(self.a_name)

    def b(self, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Return rows of B, `(out, r)`, unscaled; by default all of them."""
        out = self.file.entries[self.b_name].shape[0]
        end = out if end is None else end

        def read_slice(start: int, end: int) -> NDArray[np.float32]:
            return self.file.float32(self.b_name, start, end)

        if self.permuted_heads is not None:
            return permuted_rows(read_slice, out // self.permuted_heads)(start, end)
        return read_slice(start, end)

    def delta(self, start: int, end: int) -> NDArray[np.float32]:
        """Return the update of these rows of the weight, `(end - start, in)`."""
        return np.asarray((self.b(start, end) * np.float32(self.scale)) @ self.a(), np.float32)


@dataclass(frozen=True)
class Adapter:
    """A LoRA that fits its base: pairs by GGUF tensor name (`blk.0.attn_q.weight`)."""

    path: Path
    alpha: float
    pairs: dict[str, LoraPair]
    sha256: str


def open_adapter(folder: Path, base: Base) -> Adapter:
    """Read a peft folder and check every tensor in it against `base`.

    Raises `ModelError` if it is damaged, needs more than plain LoRA, does not fit the base (naming
    the tensors), or changes nothing.
    """
    config = read_adapter_config(folder)
    if config.beyond:
        raise ModelError(
            f"{folder / CONFIG_FILE}: cannot merge an adapter with {', '.join(config.beyond)}"
        )
    weights = folder / WEIGHTS_FILE
    if not weights.exists():
        hint = ""
        if (folder / "adapter_model.bin").is_file():
            hint = "; a .bin file can run code when read, save the adapter as safetensors"
        raise ModelError(f"{folder}: contains no {WEIGHTS_FILE}{hint}")
    file = SafetensorsFile(weights)
    file.check_floats()
    pairs, problems = {}, []
    modules: dict[str, set[str]] = {}
    for name in file.entries:
        match = re.fullmatch(rf"{re.escape(_PREFIX)}(.+)\.lora_([AB])\.weight", name)
        if match is not None:
            modules.setdefault(match[1], set()).add(match[2])
        elif not _is_copy_of_base(name, file, base):
            problems.append(f"{name} (not a LoRA weight)")
    for module, halves in modules.items():
        if halves != {"A", "B"}:
            problems.append(f"{module} (only half of its pair)")
            continue
        pair = _pair(module, config, base, file)
        problem = _misfit(module, config, pair, base)
        if problem:
            problems.append(problem)
        else:
            pairs[pair.tensor] = pair
    if problems:
        raise ModelError(
            f"{folder}: does not fit the base {base.path}; "
            f"{len(problems)} of its tensors do not: {listed(problems, '; ')}"
        )
    if not any(pair.b().any() and pair.a().any() for pair in pairs.values()):
        raise ModelError(f"{folder}: the adapter changes nothing (all its updates are zero)")
    return Adapter(folder, config.lora_alpha, pairs, sha256_of(weights))


def _pair(module: str, config: AdapterConfig, base: Base, file: SafetensorsFile) -> LoraPair:
    tensor = f"{base.architecture.tensor(module)}.weight"
    a_name, b_name = (f"{_PREFIX}{module}.lora_{half}.weight" for half in "AB")
    rank = config.rank(module)
    scale = config.alpha(module) / (sqrt(rank) if config.use_rslora else rank)
    heads = base.hyperparameters.heads_to_permute(tensor)
    return LoraPair(tensor, scale, a_name, b_name, heads, file)


def _is_copy_of_base(name: str, file: SafetensorsFile, base: Base) -> bool:
    """peft saves an embedding or head beside its LoRA, in case it was resized or trained."""
    match = re.fullmatch(rf"{re.escape(_PREFIX)}(.+)\.base_layer\.weight", name)
    tensor = _base_tensor(f"{base.architecture.tensor(match[1])}.weight", base) if match else None
    if tensor is None or file.entries[name].shape != tensor.shape:
        return False
    return np.allclose(file.float32(name), tensor.read(), rtol=0.01, atol=1e-6)


def _base_tensor(name: str, base: Base) -> Tensor | None:
    if name == "output.weight" and name not in base.tensors:  # tied: the head is the embedding
        name = "token_embd.weight"
    return base.tensors.get(name)


def _misfit(module: str, config: AdapterConfig, pair: LoraPair, base: Base) -> str | None:
    """Return why the pair cannot be added to the base, or None."""
    a, b = pair.file.entries[pair.a_name].shape, pair.file.entries[pair.b_name].shape
    tensor = _base_tensor(pair.tensor, base)
    if tensor is None:
        return f"{module} (the base has no such weight)"
    if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
        return f"{module} (A is {a}, B is {b}: no product)"
    if contradiction := config.contradiction(module, a[0]):
        return f"{module} ({contradiction})"
    if (b[0], a[1]) != tensor.shape:
        return f"{module} (changes {(b[0], a[1])}, the base's weight is {tensor.shape})"
    return None
