"""The architectures that can be trained and exported."""

from collections.abc import Collection
from pathlib import Path

from ner_edge.errors import ModelError

ARCHITECTURES = ("llama", "qwen2", "qwen3")

# Hugging Face's `model_type` and what llama.cpp calls it.
MODEL_TYPES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


def check_architecture(
    architecture: object, path: Path, supported: Collection[str] = tuple(MODEL_TYPES)
) -> str:
    """Hugging Face's `model_type`, unless others are said to be `supported`.

    Raises `ModelError` with the supported list for any other architecture.
    """
    if architecture not in supported:
        raise ModelError(
            f"{path}: architecture '{architecture}' cannot be exported; "
            f"supported: {', '.join(supported)}"
        )
    return str(architecture)
