"""A Hugging Face `config.json` as GGUF metadata, after llama.cpp's `convert_hf_to_gguf.py`."""

import json
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from ner_edge.architectures import MODEL_TYPES
from ner_edge.errors import ModelError


@dataclass(frozen=True)
class HFConfig:
    """The settings that decide what the weights mean."""

    path: Path
    architecture: str
    layers: int
    context_length: int
    width: int
    feed_forward_width: int
    heads: int
    key_value_heads: int
    head_width: int
    rms_epsilon: float
    vocabulary: int
    tied_embeddings: bool
    rope_theta: float
    rope_scaling: dict[str, Any]


def read_config(path: Path, model_type: str, values: dict[str, Any]) -> HFConfig:
    """Check `values`, the content of `path`, for a `model_type` in `MODEL_TYPES`.

    Raises `ModelError` naming a setting that is missing or that llama.cpp would compute otherwise.
    """
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    architecture = MODEL_TYPES[model_type]
    _refuse_unsupported(path, architecture, values, rope)
    try:
        heads = values["num_attention_heads"]
        return HFConfig(
            path=path,
            architecture=architecture,
            layers=values["num_hidden_layers"],
            context_length=_context_length(model_type, values),
            width=values["hidden_size"],
            feed_forward_width=values["intermediate_size"],
            heads=heads,
            key_value_heads=values.get("num_key_value_heads") or heads,
            head_width=_head_width(model_type, values),
            rms_epsilon=values["rms_norm_eps"],
            vocabulary=values["vocab_size"],
            tied_embeddings=values.get("tie_word_embeddings", False),
            rope_theta=rope.get("rope_theta", values.get("rope_theta", 10000.0)),
            rope_scaling=rope,
        )
    except KeyError as error:
        raise ModelError(f"{path}: has no setting {error}") from None


def _context_length(model_type: str, values: dict[str, Any]) -> int:
    """In tokens. Mistral's first version sees only so far back as its window, which llama.cpp does
    not know; up to there both compute the same. The defaults are those of transformers."""
    length = int(values["max_position_embeddings"])
    window = values.get("sliding_window", 4096) if model_type == "mistral" else None
    return length if window is None else min(length, window)


def _head_width(model_type: str, values: dict[str, Any]) -> int:
    default = (
        128 if model_type == "qwen3" else values["hidden_size"] // values["num_attention_heads"]
    )
    return int(values.get("head_dim") or default)


def _refuse_unsupported(
    path: Path, architecture: str, values: dict[str, Any], rope: dict[str, Any]
) -> None:
    wrong = []
    if values.get("hidden_act", "silu") != "silu":
        wrong.append(f"hidden_act {values['hidden_act']}")
    if values.get("quantization_config"):
        wrong.append("quantization_config (give the model before it was quantized)")
    if values.get("use_sliding_window") or any(
        kind != "full_attention" for kind in values.get("layer_types") or []
    ):
        wrong.append("sliding-window attention")
    if rope.get("partial_rotary_factor", values.get("partial_rotary_factor", 1.0)) != 1.0:
        wrong.append("partial_rotary_factor")
    scalings = ("default", "linear", "llama3") if architecture == "llama" else ("default", "linear")
    if _rope_type(rope) not in scalings:
        wrong.append(f"rope scaling {_rope_type(rope)}")
    if wrong:
        raise ModelError(f"{path}: cannot be exported because of its {', '.join(wrong)}")


def _rope_type(rope: dict[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def add_hyperparameters(writer: GGUFWriter, config: HFConfig) -> None:
    """Add the model's hyperparameters to `writer`'s metadata."""
    writer.add_type("model")
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.feed_forward_width)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_layer_norm_rms_eps(config.rms_epsilon)
    writer.add_vocab_size(config.vocabulary)
    writer.add_rope_freq_base(config.rope_theta)
    if _rope_type(config.rope_scaling) == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling["factor"])


def rope_factors(config: HFConfig) -> NDArray[np.float32] | None:
    """What llama.cpp divides each rotary frequency by, `(head_width / 2,)`; None if by nothing.

    Llama 3.1 slows low frequencies only, and those between by interpolation (transformers,
    `_compute_llama3_parameters`).
    """
    scaling = config.rope_scaling
    if _rope_type(scaling) != "llama3":
        return None
    factor, low, high = (scaling[k] for k in ("factor", "low_freq_factor", "high_freq_factor"))
    context = scaling["original_max_position_embeddings"]
    exponents = np.arange(0, config.head_width, 2, dtype=np.float64) / config.head_width
    wavelengths = 2 * pi * config.rope_theta**exponents
    smooth = np.clip((context / wavelengths - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), np.float32)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `ModelError` if the file is missing or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: holds no {path.name}") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a JSON object")
    return values
