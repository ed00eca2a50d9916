"""A Hugging Face model's settings as GGUF metadata, after llama.cpp's `convert_hf_to_gguf.py`."""

from math import pi

import numpy as np
from gguf import GGUFWriter, RopeScalingType
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.hf.folder import HFFolder


def refuse_unsupported(folder: HFFolder) -> None:
    """Raise `ModelError` naming the settings with which llama.cpp would compute something else."""
    config, rope = folder.config, folder.config.rope
    wrong = []
    architecture = config.architecture
    activation = config.hidden_activation or config.hidden_act or architecture.activation
    if activation != architecture.activation:
        wrong.append(f"hidden_act {activation}")
    if config.quantization_config:
        wrong.append("quantization_config (give the model before it was quantized)")
    wrong += _unsupported_attention(folder)
    if any(
        factor not in (None, 1.0)
        for factor in (rope.partial_rotary_factor, config.partial_rotary_factor)
    ):
        wrong.append("partial_rotary_factor")
    needs: dict[str, list[object]] = {
        "default": [],
        "linear": [rope.factor],
        "llama3": [
            rope.factor,
            rope.low_freq_factor,
            rope.high_freq_factor,
            rope.original_max_position_embeddings,
        ],
    }
    if rope.kind not in architecture.rope_kinds or None in needs[rope.kind]:
        wrong.append(f"rope scaling {rope.kind}")
    if wrong:
        raise ModelError(f"{folder.path}: cannot be exported because of its {', '.join(wrong)}")


def _unsupported_attention(folder: HFFolder) -> list[str]:
    config, every = folder.config, folder.config.architecture.global_every
    if not every:
        others = any(kind != "full_attention" for kind in config.layer_types or [])
        return ["sliding-window attention"] * bool(config.use_sliding_window or others)
    sizes, scalar = folder.hyperparameters, config.query_pre_attn_scalar
    kinds = [
        "sliding_attention" if layer % every else "full_attention"
        for layer in range(1, sizes.layers + 1)
    ]
    found = {
        "sliding_window null": config.window is None,
        f"layer_types (not one in {every} global)": (config.layer_types or kinds) != kinds,
        f"sliding_window_pattern {config.sliding_window_pattern}": (
            config.sliding_window_pattern not in (None, every)
        ),
        f"rope scaling {config.local_rope.kind} in layers with a window": (
            config.local_rope.kind != "default"
        ),
        f"query_pre_attn_scalar {scalar:g} with heads {sizes.head_width} wide": (
            scalar != sizes.head_width
        ),
        "attn_logit_softcapping": config.attn_logit_softcapping,
        "final_logit_softcapping": config.final_logit_softcapping,
        "use_bidirectional_attention": config.use_bidirectional_attention,
    }
    return [what for what, is_wrong in found.items() if is_wrong]


def add_hyperparameters(writer: GGUFWriter, folder: HFFolder) -> None:
    """Add the model's hyperparameters to `writer`'s metadata."""
    config, sizes = folder.config, folder.hyperparameters
    writer.add_type("model")
    writer.add_block_count(sizes.layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(sizes.width)
    writer.add_feed_forward_length(sizes.feed_forward_width)
    writer.add_head_count(sizes.heads)
    writer.add_head_count_kv(sizes.key_value_heads)
    writer.add_key_length(sizes.head_width)
    writer.add_value_length(sizes.head_width)
    writer.add_rope_dimension_count(sizes.head_width)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(sizes.vocabulary)
    writer.add_rope_freq_base(_rope_theta(folder))
    if config.rope.kind == "linear" and config.rope.factor:
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope.factor)
    if config.architecture.global_every:
        assert config.window is not None
        writer.add_sliding_window(config.window)
        writer.add_rope_freq_base_swa(config.local_rope.rope_theta or 10000.0)
    if config.architecture.licence:
        writer.add_license(config.architecture.licence.identifier)


def rope_factors(folder: HFFolder) -> NDArray[np.float32] | None:
    """Return the divisors of the rotary frequencies, `(head_width / 2,)`; None if there are none.

    Llama 3.1 divides low frequencies by a constant, high ones by 1, and interpolates between
    (transformers, `_compute_llama3_parameters`).
    """
    rope, width = folder.config.rope, folder.hyperparameters.head_width
    if rope.kind != "llama3":
        return None
    factor, low, high = rope.factor, rope.low_freq_factor, rope.high_freq_factor
    context = rope.original_max_position_embeddings
    assert factor is not None
    assert low is not None
    assert high is not None
    assert context is not None
    if not low < high:
        raise ModelError(
            f"{folder.path}: its rope scaling has low_freq_factor {low} and high_freq_factor {high}"
        )
    exponents = np.arange(0, width, 2, dtype=np.float64) / width
    wavelengths = 2 * pi * _rope_theta(folder) ** exponents
    smooth = np.clip((context / wavelengths - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), np.float32)


def _rope_theta(folder: HFFolder) -> float:
    config = folder.config
    return config.rope.rope_theta or config.rope_theta or config.architecture.rope_theta
