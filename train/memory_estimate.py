"""The memory that a training step needs, estimated by a formula."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from ner_edge.architectures import BY_MODEL_TYPE
from ner_edge.hf.prompts import Example
from ner_edge.memory import available_memory
from ner_edge.train.loss import ROWS
from ner_edge.train.word_head import word_head_of

# Python, torch and transformers (0.4 GB once imported) and the allocator's reserve, by estimate.
_RUNTIME = 600_000_000
_MOMENTS = 4  # float32 values per adapter weight: weight, gradient, and AdamW's two moments


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes in use at the peak of a step."""

    weights: int
    adapter: int
    """The adapter with its gradients and the optimizer state."""
    activations: int
    runtime: int = _RUNTIME

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.activations + self.runtime


def memory_need(
    model: Any, rank: int, prefix: int, part: Sequence[Example], checkpointing: bool = False
) -> MemoryNeed:
    """Estimate a step on one packed sequence of `prefix` tokens and the examples `part`, on CPU.

    A GPU needs less, since its fused attention does not keep the attention weights.
    """
    frozen = trained = shared_out = 0
    for weight in model.parameters():
        if weight.requires_grad:
            trained += weight.numel()
        elif isinstance(weight, DTensor):
            shared_out += weight.nbytes
            frozen += weight.to_local().nbytes
        else:
            frozen += weight.nbytes
    base = model.get_base_model()
    frozen += (
        2 * shared_out // base.config.num_hidden_layers
    )  # the layer in use and the next, gathered
    size = base.dtype.itemsize
    lengths = [len(example) for example in part]
    kept = kept_activations(base.config, size, rank, prefix, lengths, checkpointing)
    if head := word_head_of(model):
        words = sum(len(example.word_ends) for example in part)
        kept += kept_for_head(base.config, size, len(head.depths), words, prefix, lengths)
    kept += trained * size  # the adapter, cast for the matrix products
    return MemoryNeed(
        frozen, trained * 4 * _MOMENTS, kept + _working_memory(base.config, size, prefix, lengths)
    )


def kept_activations(
    config: Any,
    size: int,
    rank: int,
    prefix: int,
    lengths: Sequence[int],
    checkpointing: bool = False,
) -> int:
    """Return the bytes kept for the backward pass, in a model with values of `size` bytes."""
    hidden, inner = config.hidden_size, config.intermediate_size
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    dim = getattr(config, "head_dim", None) or hidden // heads
    examples, longest = len(lengths), max(lengths) - 1
    tokens = prefix + sum(lengths) - examples
    seen = prefix + longest
    widths = {"attn_q_norm": heads * dim, "attn_k_norm": kv_heads * dim}
    layer_tensors = BY_MODEL_TYPE[config.model_type].layer.values()
    normed = sum(widths.get(name, hidden) for name in layer_tensors if name.endswith("norm"))
    norms = tokens * normed * 4  # in float32 in every model
    products = tokens * (2 * hidden + heads * dim + 4 * inner + 7 * rank)
    queries, keys = examples * longest * heads * dim, examples * seen * kv_heads * dim
    attention = heads * (examples * longest * seen + prefix * prefix)
    scores = attention * (4 if size == 4 else 4 + size)  # in float32, and cast
    layer = norms + size * (products + keys) + 4 * (queries + keys) + scores
    ends = tokens * hidden * (4 + size)
    kept = tokens * hidden * size + layer / config.num_hidden_layers if checkpointing else layer
    return int(config.num_hidden_layers * kept + ends)


def kept_for_head(
    config: Any, size: int, depths: int, words: int, prefix: int, lengths: Sequence[int]
) -> int:
    """Return the bytes that a word head after `depths` of the layers adds to these: the hidden
    states of all layers, and for each depth those of `words` words in float32, twice."""
    tokens = prefix + sum(lengths) - len(lengths)
    states = config.num_hidden_layers * tokens * config.hidden_size * size
    return int(states + 2 * depths * words * config.hidden_size * 4)


def _working_memory(config: Any, size: int, prefix: int, lengths: Sequence[int]) -> int:
    tokens = prefix + sum(lengths) - len(lengths)
    # Either a chunk of logits or the gradients within one layer.
    logits = 3 * ROWS * config.vocab_size * 4
    return int(max(logits, 6 * tokens * config.intermediate_size * size))


def free_memory(device: torch.device) -> int | None:
    """Return the bytes available on `device`, None if unknown."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
