"""A Hugging Face `config.json`, as far as it decides what the weights mean."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ner_edge.architectures import MODEL_TYPES, check_architecture
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

    @property
    def kind(self) -> str:
        """`default`, `linear`, `llama3`, ..."""
        return self.rope_type or self.type or "default"


class HFConfig(msgspec.Struct):
    """The settings that are read; whatever else the file holds is not."""

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
    tie_word_embeddings: bool = False
    rope_theta: Positive | None = None
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    partial_rotary_factor: float | None = None
    hidden_act: str | None = None
    sliding_window: Size | msgspec.UnsetType | None = msgspec.UNSET
    use_sliding_window: bool | None = None
    layer_types: list[str] | None = None
    quantization_config: Any = None
    eos_token_id: int | list[int] | None = None

    @property
    def architecture(self) -> str:
        """llama.cpp's name for it."""
        return MODEL_TYPES[self.model_type]

    @property
    def rope(self) -> Rope:
        """The settings of the rotation, wherever they stand."""
        return self.rope_parameters or self.rope_scaling or Rope()

    @property
    def context_length(self) -> int:
        """In tokens. Mistral's first version sees only so far back as its window, which llama.cpp
        does not know; up to there both compute the same. The defaults are those of transformers."""
        window = 4096 if self.sliding_window is msgspec.UNSET else self.sliding_window
        if self.model_type != "mistral" or window is None:
            return self.max_position_embeddings
        return min(self.max_position_embeddings, window)

    def hyperparameters(self, path: Path) -> Hyperparameters:
        """The sizes of the model in `path`. Raises `ModelError` if no model can have them."""
        heads = self.num_attention_heads
        default = 128 if self.model_type == "qwen3" else self.hidden_size // heads
        return Hyperparameters(
            path=path,
            architecture=self.architecture,
            layers=self.num_hidden_layers,
            width=self.hidden_size,
            feed_forward_width=self.intermediate_size,
            heads=heads,
            key_value_heads=self.num_key_value_heads or heads,
            head_width=self.head_dim or default,
            vocabulary=self.vocab_size,
        )


class _ModelType(msgspec.Struct):
    model_type: str


def read_config(path: Path) -> HFConfig:
    """Read a `config.json`. Raises `ModelError` naming what is missing or wrong in it, or that its
    architecture is none of `MODEL_TYPES`."""
    if not path.is_file():
        raise ModelError(f"{path.parent}: holds no {path.name}")
    # First, so that another architecture is named as such, and not by what it lacks.
    check_architecture(read_json(path, _ModelType, "a model's settings").model_type, path.parent)
    return read_json(path, HFConfig, "a model's settings")
