"""The sizes of a model, and the tensors and shapes that follow from them.

Names and shapes are GGUF's, rows first as in numpy: https://github.com/ggml-org/llama.cpp,
`src/llama-model.cpp`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.architectures import HEAD_NORMS, Architecture
from ner_edge.errors import ModelError

_MAX_LAYERS = 512  # llama.cpp's LLAMA_MAX_LAYERS, an assertion there
_LISTED = 8

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Hyperparameters:
    """The sizes of the model in `path`. Raises `ModelError` if they are impossible."""

    path: Path
    architecture: Architecture
    layers: int
    width: int
    feed_forward_width: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int

    def __post_init__(self) -> None:
        for name in ("width", "feed_forward_width", "heads", "key_value_heads", "vocabulary"):
            if getattr(self, name) < 1:
                raise self._impossible(f"{name.replace('_', ' ')} {getattr(self, name)}")
        if not 1 <= self.layers <= _MAX_LAYERS:
            raise self._impossible(f"{self.layers} layers; 1 to {_MAX_LAYERS} are possible")
        if self.heads % self.key_value_heads:
            raise self._impossible(
                f"{self.heads} attention heads are not a multiple of "
                f"{self.key_value_heads} key-value heads"
            )
        if self.head_width < 2 or self.head_width % 2:
            raise self._impossible(f"the head size must be even, not {self.head_width}")

    def matrices(self) -> dict[str, Shape]:
        """Return the shapes of one layer's matrices."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        return {
            "attn_q": (queries, self.width),
            "attn_k": (keys, self.width),
            "attn_v": (keys, self.width),
            "attn_output": (self.width, queries),
            "ffn_gate": (self.feed_forward_width, self.width),
            "ffn_up": (self.feed_forward_width, self.width),
            "ffn_down": (self.width, self.feed_forward_width),
        }

    def required(self) -> dict[str, Shape]:
        """Return the shapes of the tensors that such a model must have. The output matrix is
        optional, because the embedding may serve as one."""
        shapes: dict[str, Shape] = {
            "token_embd.weight": (self.vocabulary, self.width),
            "output_norm.weight": (self.width,),
        }
        for layer in range(self.layers):
            for kind, shape in self.matrices().items():
                shapes[f"blk.{layer}.{kind}.weight"] = shape
            for kind, size in self._vectors().items():
                shapes[f"blk.{layer}.{kind}"] = (size,)
        return shapes

    def optional(self) -> dict[str, Shape]:
        """Return the shapes of the tensors that such a model may have."""
        shapes: dict[str, Shape] = {
            "output.weight": (self.vocabulary, self.width),
            "rope_freqs.weight": (self.head_width // 2,),
        }
        for layer in range(self.layers):
            for kind in self.architecture.optional_biases:
                shapes[f"blk.{layer}.{kind}.bias"] = self.matrices()[kind][:1]
        return shapes

    def heads_to_permute(self, tensor: str) -> int | None:
        """Return the number of heads in `tensor` if GGUF and Hugging Face order its rows
        differently, else None."""
        kind = tensor.split(".")[-2]
        if kind not in self.architecture.permuted:
            return None
        return self.heads if kind == "attn_q" else self.key_value_heads

    def check(self, found: Mapping[str, Shape]) -> None:
        """Raise `ModelError` unless `found` are the tensors and shapes of such a model."""
        required = self.required()
        known = self.optional() | required
        unknown = [name for name in found if name not in known]
        if unknown:
            raise ModelError(
                f"{self.path}: not {self.architecture.name} tensors: {listed(unknown)}"
            )
        missing = [name for name in required if name not in found]
        if missing:
            raise ModelError(f"{self.path}: its weights lack {listed(missing)}")
        wrong = [
            f"{name} is {found[name]}, not {known[name]}"
            for name in found
            if found[name] != known[name]
        ]
        if wrong:
            raise ModelError(f"{self.path}: its weights contradict its settings: {listed(wrong)}")

    def _vectors(self) -> dict[str, int]:
        vectors = {
            f"{kind}.weight": self.head_width if kind in HEAD_NORMS else self.width
            for kind in self.architecture.layer.values()
            if kind.endswith("norm")
        }
        biases = {f"{kind}.bias": self.matrices()[kind][0] for kind in self.architecture.biases}
        return vectors | biases

    def _impossible(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: its settings are impossible: {what}")


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Join the first few items for a message, and count the others."""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return separator.join(items[:_LISTED]) + more
