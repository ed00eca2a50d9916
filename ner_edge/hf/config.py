"""The settings in a Hugging Face `config.json` that decide what the weights mean."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ner_edge.architectures import BY_MODEL_TYPE, Architecture, find_architecture
from ner_edge.errors import ModelError
from ner_edge.files.typed import read_json
from ner_edge.shapes import Hyperparameters

Size = Annotated[int, Meta(ge=1, lt=1 << 31)]
Positive = Annotated[float, Meta(gt=0, le=1e30)]


class Rope(msgspec.Struct):
    """How positions are rotated; old files say `type` for `rope_type`."""

    rope_type: str | None = None
    type: str | None = None
    rope_theta: Positive | None = None
    factor: Positive | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    original_max_position_embeddings: Size | None = None
    partial_rotary_factor: float | None = None
    full_attention: "Rope | None" = None
    """The settings of layers that attend to all tokens, where each kind of layer has its own."""
    sliding_attention: "Rope | None" = None

    @property
    def kind(self) -> str:
        """`default`, `linear`, `llama3`, ..."""
        return self.rope_type or self.type or "default"


class HFConfig(msgspec.Struct):
    """The settings that ner-edge reads; all others are ignored."""

    model_type: str
    num_hidden_layers: Size
    hidden_size: Size
    intermediate_size: Size
    num_attention_heads: Size
    rms_norm_eps: Annotated[float, Meta(gt=0, lt=1)]
    vocab_size: Size
    max_position_embeddings: Size
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    tie_word_embeddings: bool | None = None
    rope_theta: Positive | None = None
    rope_local_base_freq: Positive | None = None
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    partial_rotary_factor: float | None = None
    hidden_act: str | None = None
    hidden_activation: str | None = None
    query_pre_attn_scalar: Positive = 256
    attn_logit_softcapping: Positive | None = None
    final_logit_softcapping: Positive | None = None
    use_bidirectional_attention: bool | None = None
    sliding_window: Size | msgspec.UnsetType | None = msgspec.UNSET
    sliding_window_pattern: int | None = None
    use_sliding_window: bool | None = None
    layer_types: list[str] | None = None
    quantization_config: Any = None
    eos_token_id: int | list[int] | None = None

    @property
    def architecture(self) -> Architecture:
        """The row of its family."""
        return BY_MODEL_TYPE[self.model_type]

    @property
    def rope(self) -> Rope:
        """The settings of the rotation in layers that attend to all tokens."""
        rope = self.rope_parameters or self.rope_scaling or Rope()
        return rope.full_attention or rope

    @property
    def local_rope(self) -> Rope:
        """The settings of the rotation in layers with a sliding window."""
        local = self.rope_parameters.sliding_attention if self.rope_parameters else None
        return local or Rope(rope_theta=self.rope_local_base_freq)

    @property
    def is_tied(self) -> bool:
        """Whether the embedding is also the output matrix."""
        tied = self.tie_word_embeddings
        return self.architecture.tied if tied is None else tied

    @property
    def window(self) -> int | None:
        """The sliding window in tokens, if attention is limited in any layer."""
        window = self.architecture.window
        if window is None or self.sliding_window is msgspec.UNSET:
            return window
        return self.sliding_window

    @property
    def context_length(self) -> int:
        """In tokens. Where llama.cpp ignores the window, a context no longer than the window gives
        the same results."""
        if self.window is None or self.architecture.global_every:
            return self.max_position_embeddings
        return min(self.max_position_embeddings, self.window)

    def hyperparameters(self, path: Path) -> Hyperparameters:
        """Return the sizes of the model in `path`. Raises `ModelError` if they are impossible."""
        heads = self.num_attention_heads
        return Hyperparameters(
            path=path,
            architecture=self.architecture,
            layers=self.num_hidden_layers,
            width=self.hidden_size,
            feed_forward_width=self.intermediate_size,
            heads=heads,
            key_value_heads=self.num_key_value_heads or heads,
            head_width=self.head_dim or self.architecture.head_width or self.hidden_size // heads,
            vocabulary=self.vocab_size,
        )


class _ModelType(msgspec.Struct):
    model_type: str


def read_config(path: Path) -> HFConfig:
    """Read a `config.json`. Raises `ModelError` if a setting is missing or wrong, or if the
    architecture is not supported."""
    if not path.is_file():
        raise ModelError(f"{path.parent}: contains no {path.name}")
    # First, because other architectures may lack settings that `HFConfig` requires.
    model_type = read_json(path, _ModelType, "a model's settings").model_type
    find_architecture(model_type, BY_MODEL_TYPE, path.parent)
    return read_json(path, HFConfig, "a model's settings")
