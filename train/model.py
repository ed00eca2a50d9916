"""The LoRA adapter that is trained, as peft makes, loads and saves it."""

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

from ner_edge.errors import ModelError
from ner_edge.files.atomic import atomic_path, make_folder, scratch_folder, write_text
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE, check_adapter
from ner_edge.train.checkpoint import adapter_weights
from ner_edge.train.lora import speed_up_lora
from ner_edge.train.settings import TrainSettings


def add_adapter(model: Any, settings: TrainSettings, start: Path | None = None) -> Any:
    """A LoRA adapter on all linear layers of `model`, in float32: fresh, or as trained in `start`.

    Raises `ModelError` if `start` is no adapter for these layers, of this rank and alpha.
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
    """Keep only what enters each block of layers, and compute the rest again going backward."""
    adapted.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})


def _load_adapter(adapted: Any, folder: Path, settings: TrainSettings) -> None:
    check_adapter(folder)
    try:
        found = LoraConfig.from_pretrained(str(folder))
        if (found.r, found.lora_alpha) != (settings.rank, settings.alpha):
            raise ValueError(
                f"its rank and alpha are {found.r} and {found.lora_alpha}, "
                f"the settings' {settings.rank} and {settings.alpha}"
            )
        weights = load_peft_weights(str(folder), device="cpu")
        if weights.keys() != get_peft_model_state_dict(adapted, save_embedding_layers=False).keys():
            raise ValueError("other layers")
        set_peft_model_state_dict(adapted, weights)
    except Exception as error:  # whatever peft and safetensors take for granted
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{folder}: cannot be trained further ({reason})") from error


def save_adapter(model: Any, folder: Path, base: str) -> None:
    """Write the adapter in peft's format, as float16 safetensors, to `folder`, made if it is not
    there; `base` is what it is for."""
    make_folder(folder)
    halves = {name: weight.half() for name, weight in adapter_weights(model).items()}
    # Told to decide itself about the embeddings, peft would look for the base on the hub.
    weights = get_peft_model_state_dict(model, state_dict=halves, save_embedding_layers=False)
    config = copy(model.peft_config["default"])
    config.base_model_name_or_path, config.inference_mode = base, True
    with atomic_path(folder / WEIGHTS_FILE) as path:
        path.write_bytes(save(weights, {"format": "pt"}))
    with scratch_folder(folder, "adapter") as scratch:  # peft itself writes only into a folder
        config.save_pretrained(str(scratch))
        text = (scratch / CONFIG_FILE).read_text(encoding="utf-8")
    write_text(text, str(folder / CONFIG_FILE))
