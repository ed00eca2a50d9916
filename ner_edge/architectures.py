"""The architectures that can be trained, exported and run: one row each.

To add a family, add a row. Tensor names and what llama.cpp computes:
https://github.com/ggml-org/llama.cpp, `src/models` and `conversion`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ner_edge.errors import ModelError

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
_WITH_HEAD_NORMS = {
    **_LAYER,
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
HEAD_NORMS = ("attn_q_norm", "attn_k_norm")
_QKV = ("attn_q", "attn_k", "attn_v")


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp and transformers take for granted about a family of models."""

    name: str
    """llama.cpp's name (`general.architecture`)."""
    model_type: str
    """Hugging Face's name, in `config.json`."""
    layer: Mapping[str, str]
    """The modules of a layer that have weights, and their GGUF tensors."""
    biases: tuple[str, ...] = ()
    """The matrices of a layer that have a bias."""
    optional_biases: tuple[str, ...] = _QKV
    """Those that may have one."""
    permuted: tuple[str, ...] = ()
    """The matrices whose rows are in another order in GGUF: llama.cpp rotates neighbouring pairs
    of a head, transformers its halves."""
    rope_kinds: tuple[str, ...] = ("default", "linear")
    head_width: int | None = None
    """The default of `head_dim`; None: `hidden_size / num_attention_heads`."""
    window: int | None = None
    """The default of `sliding_window`, in tokens; None: attention is never limited."""

    def tensor(self, module: str) -> str | None:
        """Return the GGUF name of a module's tensor: `model.layers.3.mlp.up_proj` →
        `blk.3.ffn_up`; None if llama.cpp has no such tensor."""
        if module in _TOP:
            return _TOP[module]
        match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", module)
        kind = None if match is None else self.layer.get(match[2])
        return None if match is None or kind is None else f"blk.{match[1]}.{kind}"

    def modules(self, layer: int) -> list[str]:
        """Return the paths of all modules with weights in one layer."""
        return [f"model.layers.{layer}.{module}" for module in self.layer]


_LLAMA = Architecture(
    "llama",
    "llama",
    _LAYER,
    optional_biases=(*_QKV, "attn_output", "ffn_gate", "ffn_up", "ffn_down"),
    permuted=("attn_q", "attn_k"),
    rope_kinds=("default", "linear", "llama3"),
)
_ROWS = (
    _LLAMA,
    replace(_LLAMA, model_type="mistral", window=4096),
    Architecture("qwen2", "qwen2", _LAYER, biases=_QKV),
    Architecture("qwen3", "qwen3", _WITH_HEAD_NORMS, head_width=128),
)
BY_MODEL_TYPE = {row.model_type: row for row in _ROWS}
BY_NAME = {row.name: row for row in reversed(_ROWS)}  # of rows with one name, the first


def find_architecture(name: object, rows: Mapping[str, Architecture], path: Path) -> Architecture:
    """Look up a row by a name found in `path`. Raises `ModelError` with the supported names."""
    if not isinstance(name, str) or name not in rows:
        supported = ", ".join(sorted(rows))
        raise ModelError(
            f"{path}: architecture '{name}' cannot be exported; supported: {supported}"
        )
    return rows[name]
