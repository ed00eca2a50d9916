"""Hugging Face module paths and GGUF tensor names, for the architectures that can be exported."""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_HEAD_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}


def gguf_name(module: str) -> str | None:
    """`model.layers.3.mlp.up_proj` → `blk.3.ffn_up`; None if llama.cpp has no such tensor."""
    if module in _TOP:
        return _TOP[module]
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
    kind = None if match is None else (_LAYER | _HEAD_NORMS).get(match[2])
    return None if match is None or kind is None else f"blk.{match[1]}.{kind}"


def layer_modules(layer: int, architecture: str) -> list[str]:
    """The paths of all modules with weights in one layer."""
    kinds = [*_LAYER, *(_HEAD_NORMS if architecture == "qwen3" else ())]
    return [f"model.layers.{layer}.{kind}" for kind in kinds]


def heads_to_permute(
    architecture: str, tensor: str, heads: int, key_value_heads: int
) -> int | None:
    """How many heads' rows the GGUF holds in another order than Hugging Face, None if it does not.

    llama.cpp rotates neighbouring pairs in `llama` (so q and k are permuted on conversion) but
    halves, like Hugging Face, in the others.
    """
    if architecture != "llama":
        return None
    if ".attn_q." in tensor:
        return heads
    return key_value_heads if ".attn_k." in tensor else None


def permuted_rows(
    read_slice: Callable[[int, int], NDArray[np.float32]], head_width: int
) -> Callable[[int, int], NDArray[np.float32]]:
    """What reads rows in GGUF's order, made of what reads them in Hugging Face's."""

    def read(start: int, end: int) -> NDArray[np.float32]:
        first, last = start // head_width * head_width, -(-end // head_width) * head_width
        rows = permute_rows(read_slice(first, last), (last - first) // head_width)
        return rows[start - first : end - first]

    return read


def permute_rows(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Hugging Face's row order of q or k (or of a LoRA B for them) to GGUF's: within each head,
    the two halves are interleaved (llama.cpp, `LlamaModel.permute`)."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)


def restore_rows(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The inverse of `permute_rows`."""
    split = rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:])
    return split.swapaxes(1, 2).reshape(rows.shape)
