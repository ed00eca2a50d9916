"""Create, load and save LoRA adapters in peft's format."""

from copy import copy
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from safetensors.torch import save

from ner_edge.errors import ModelError, first_line
from ner_edge.files.atomic import atomic_path, make_folder, scratch_folder, write_text
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE, check_adapter
from ner_edge.train.checkpoint import adapter_weights
from ner_edge.train.lora import speed_up_lora
from ner_edge.train.settings import TrainSettings


def add_adapter(model: Any, settings: TrainSettings, start: Path | None = None) -> Any:
    """Return `model` with a float32 LoRA adapter on all linear layers: new, or loaded from `start`.

    Raises `ModelError` if the adapter in `start` has other layers, rank or alpha.
    """
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    if start:
        _load_adapter(adapted, start, settings)
    speed_up_lora(adapted)
    if settings.gradient_checkpointing:
        checkpoint_gradients(adapted)
    return adapted


def checkpoint_gradients(adapted: Any) -> None:
    """Keep only the inputs of each block, and recompute the rest in the backward pass."""
    adapted.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})


def _load_adapter(adapted: Any, folder: Path, settings: TrainSettings) -> None:
    check_adapter(folder)
    try:
        found = LoraConfig.from_pretrained(str(folder))
        if (found.r, found.lora_alpha) != (settings.rank, settings.alpha):
            raise ValueError(
                f"its rank and alpha are {found.r} and {found.lora_alpha}, not {settings.rank} and "
                f"{settings.alpha}; pass --set rank={found.r} --set alpha={found.lora_alpha}"
            )
        weights = load_peft_weights(str(folder), device="cpu")
        if weights.keys() != get_peft_model_state_dict(adapted, save_embedding_layers=False).keys():
            raise ValueError("it has other layers")
        set_peft_model_state_dict(adapted, weights)
    except Exception as error:  # peft and safetensors raise anything on a damaged adapter
        raise ModelError(f"{folder}: cannot be trained further ({first_line(error)})") from error


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Write the adapter of `model` to `folder` as float16 safetensors, and name its `base`."""
    make_folder(folder)
    halves = {name: weight.half() for name, weight in adapter_weights(model).items()}
    # With "auto" for the embeddings, peft would look for the base on the hub.
    weights = get_peft_model_state_dict(model, state_dict=halves, save_embedding_layers=False)
    config = copy(model.peft_config["default"])
    config.base_model_name_or_path, config.inference_mode = base, True
    with atomic_path(folder / WEIGHTS_FILE) as path:
        path.write_bytes(save(weights, {"format": "pt"}))
    save_config(config, folder)


def save_config(config: LoraConfig, folder: Path) -> None:
    """Write `adapter_config.json` to `folder`; the file appears whole or not at all."""
    with scratch_folder(folder, "adapter") as scratch:  # peft can only write into a folder
        config.save_pretrained(str(scratch))
        text = (scratch / CONFIG_FILE).read_text(encoding="utf-8")
    write_text(text, str(folder / CONFIG_FILE))
