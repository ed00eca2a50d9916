"""The architectures that can be trained, exported and run: one row each.

To add a family, add a row. For tensor names and what llama.cpp computes, see `src/models` and
`conversion` in https://github.com/ggml-org/llama.cpp.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

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
_GEMMA3_LAYER = {
    **_WITH_HEAD_NORMS,
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"  # llama.cpp's names (`tokenizer.ggml.model`)
HEAD_NORMS = ("attn_q_norm", "attn_k_norm")
_QKV = ("attn_q", "attn_k", "attn_v")


class Licence(NamedTuple):
    """The licence that covers every model of a family."""

    identifier: str
    """Its identifier in model cards on the Hugging Face hub."""
    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp and transformers take for granted about a family of models."""

    name: str
    """llama.cpp's name (`general.architecture`)."""
    model_type: str
    """Hugging Face's name, in `config.json`."""
    layer: Mapping[str, str]
    """The modules of a layer that have weights, each with its GGUF tensor."""
    biases: tuple[str, ...] = ()
    """The matrices of a layer that always have a bias."""
    optional_biases: tuple[str, ...] = _QKV
    """The matrices that may have one."""
    permuted: tuple[str, ...] = ()
    """The matrices whose rows are in another order in GGUF: llama.cpp rotates neighbouring pairs
    of a head, transformers its halves."""
    norm_shift: float = 0.0
    """transformers adds this to the weights of norms; GGUF stores the sum."""
    activation: str = "silu"
    query_pre_attn_scalar: bool = False
    """transformers scales attention by this setting, llama.cpp by the head width."""
    rope_kinds: tuple[str, ...] = ("default", "linear")
    rope_theta: float = 10000.0
    """The default of `rope_theta`."""
    head_width: int | None = None
    """The default of `head_dim`; None: `hidden_size / num_attention_heads`."""
    window: int | None = None
    """The default of `sliding_window`, in tokens; None: attention is never limited."""
    global_every: int | None = None
    """Every n-th layer attends to all tokens, the others to the window; None: llama.cpp ignores the
    window, so the context must not be longer."""
    tied: bool = False
    """The default of `tie_word_embeddings`."""
    tokenizer: str = BYTE_LEVEL
    licence: Licence | None = None
    """None: each model of the family has its own."""

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
    Architecture(
        "gemma3",
        "gemma3_text",
        _GEMMA3_LAYER,
        norm_shift=1.0,
        activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=True,
        rope_theta=1_000_000.0,
        head_width=256,
        window=4096,
        global_every=6,
        tied=True,
        tokenizer=SENTENCEPIECE,
        licence=Licence("gemma", "Gemma Terms of Use", "https://ai.google.dev/gemma/terms"),
    ),
)
BY_MODEL_TYPE = {row.model_type: row for row in _ROWS}
BY_NAME = {row.name: row for row in reversed(_ROWS)}  # of rows with one name, the first


def find_architecture(name: object, rows: Mapping[str, Architecture], path: Path) -> Architecture:
    """Return the row of an architecture that `path` names. Raises `ModelError` if there is none."""
    if not isinstance(name, str) or name not in rows:
        supported = ", ".join(sorted(rows))
        raise ModelError(
            f"{path}: architecture '{name}' is not supported; choose one of: {supported}"
        )
    return rows[name]
