"""Which tensors a model has, and of which shapes, as its hyperparameters say.

Names and shapes are GGUF's, rows first as in numpy: https://github.com/ggml-org/llama.cpp,
`src/llama-model.cpp`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import ModelError

_MAX_LAYERS = 512  # llama.cpp's LLAMA_MAX_LAYERS, an assertion there
_LISTED = 8

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Hyperparameters:
    """The sizes that decide the tensors of a model. Raises `ModelError` naming `path` if no model
    can have them."""

    path: Path
    architecture: str
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
        """The linear layers of one block."""
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
        """The tensors that every such model has. The output matrix is not among them: it may be
        the embedding."""
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
        """The tensors that some such models have."""
        shapes: dict[str, Shape] = {
            "output.weight": (self.vocabulary, self.width),
            "rope_freqs.weight": (self.head_width // 2,),
        }
        for layer in range(self.layers):
            for kind, (rows, _) in self.matrices().items():
                shapes[f"blk.{layer}.{kind}.bias"] = (rows,)
        return shapes

    def check(self, found: Mapping[str, Shape]) -> None:
        """Raise `ModelError`, listing all that is wrong, unless `found` are such a model's tensors
        and their shapes."""
        required = self.required()
        known = self.optional() | required
        unknown = [name for name in found if name not in known]
        if unknown:
            raise ModelError(f"{self.path}: not {self.architecture} tensors: {listed(unknown)}")
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
        vectors = {"attn_norm.weight": self.width, "ffn_norm.weight": self.width}
        if self.architecture == "qwen2":
            queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
            vectors |= {"attn_q.bias": queries, "attn_k.bias": keys, "attn_v.bias": keys}
        if self.architecture == "qwen3":
            norms = ("attn_q_norm.weight", "attn_k_norm.weight")
            vectors |= dict.fromkeys(norms, self.head_width)
        return vectors

    def _impossible(self, what: str) -> ModelError:
        return ModelError(f"{self.path}: its settings are impossible: {what}")


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first few of many, for a message."""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return separator.join(items[:_LISTED]) + more
