"""Two ways to compute the gradients of a batch: as a plain loop over padded rows, and packed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from ner_edge.hf.prompts import Example
from ner_edge.train.loop import LossWeights, add_gradients
from ner_edge.train.model import add_adapter
from ner_edge.train.settings import TrainSettings

TOLERANCE = 0.02  # relative difference of the losses of both in bfloat16
_IGNORED = -100  # the label that transformers' loss skips
Step = Callable[[Sequence[Example]], float]


def add_naive_adapter(model: Any, settings: TrainSettings) -> Any:
    """Give `model` the adapter that `add_adapter` gives it, with peft's own layers."""
    model.set_attn_implementation("sdpa")
    torch.manual_seed(settings.seed)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config).train()


def add_packed_adapter(model: Any, settings: TrainSettings) -> Any:
    """Give `model` an adapter as `ner-edge train` does."""
    return add_adapter(model, settings).train()


def naive_step(model: Any, prefix: list[int], rows: int) -> Step:
    """Gradients of a batch with padding and torch's loss over all positions and tokens."""

    def step(batch: Sequence[Example]) -> float:
        targets = sum(len(example.response) for example in batch)
        total = 0.0
        for start in range(0, len(batch), rows):
            ids, mask, labels = (
                x.to(model.device) for x in _padded(batch[start : start + rows], prefix)
            )
            low = model.dtype == torch.bfloat16
            with torch.autocast(model.device.type, torch.bfloat16, enabled=low):
                loss = model(
                    input_ids=ids,
                    attention_mask=mask,
                    labels=labels,
                    num_items_in_batch=targets,
                    use_cache=False,
                ).loss
            loss.backward()
            total += loss.item()
        return total

    return step


def packed_step(model: Any, prefix: list[int], max_tokens: int) -> Step:
    """Gradients of a batch as `ner-edge train` computes them."""
    base = model.get_base_model()

    def step(batch: Sequence[Example]) -> float:
        targets = sum(len(example.response) for example in batch)
        weights = LossWeights(1 / targets)
        return add_gradients(base, prefix, batch, weights, max_tokens)[0].item()

    return step


def _padded(
    part: Sequence[Example], prefix: list[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, attention mask and labels [rows, longest]."""
    longest = max(len(prefix) + len(example) for example in part)
    ids = torch.zeros(len(part), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, _IGNORED)
    for row, example in enumerate(part):
        text = prefix + example.prompt + example.response
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
        answer = slice(len(text) - len(example.response), len(text))
        labels[row, answer] = torch.tensor(example.response)
    return ids, mask, labels
