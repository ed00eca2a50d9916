"""Read sentences both ways in torch: with a mask over a padded batch, for any transformers model.

The words of a sentence attend to one another in both directions; the prompt before and after them
is read causally. Training computes the same from packed sequences.
"""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ner_edge.hf.prompts import PromptEncoder

if TYPE_CHECKING:
    import torch


class Prompts(NamedTuple):
    """Token ids of prompts, padded on the left: `ids` and `mask`, 0 for padding, are
    [prompts, longest]."""

    ids: "torch.Tensor"
    mask: "torch.Tensor"


def pad_prompts(prompts: Sequence[list[int]], pad: int) -> Prompts:
    """Pad `prompts` on the left with the token `pad`."""
    import torch

    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    ids = [[pad] * n + prompt for n, prompt in zip(padding, prompts, strict=True)]
    mask = [[0] * n + [1] * len(prompt) for n, prompt in zip(padding, prompts, strict=True)]
    return Prompts(torch.tensor(ids), torch.tensor(mask))


def word_states(
    model: Any,
    encoder: PromptEncoder,
    sentences: Sequence[Sequence[str]],
    depths: Sequence[int],
) -> list[dict[int, "torch.Tensor"]]:
    """Return for each sentence the hidden states [words, width] at the last token of each word,
    after each number of layers in `depths`; after the last layer, they are those of the final norm.

    All sentences are read in one batch. `model` is a transformers causal language model, with or
    without peft, whose attention takes a mask.
    """
    import torch

    prompts = [encoder.prefix + encoder.prompt(words) for words in sentences]
    batch = pad_prompts(prompts, 0)
    before, after = len(encoder.prefix), len(encoder.suffix)
    with torch.inference_mode():
        states = _read(model, batch, before, after, output_hidden_states=True).hidden_states
    longest, found = batch.ids.shape[1], []
    for row, (prompt, words) in enumerate(zip(prompts, sentences, strict=True)):
        start = longest - len(prompt) + before
        places = [start + end for end in encoder.word_ends(words)]
        found.append({depth: states[depth][row, places] for depth in depths})
    return found


def read_into_cache(model: Any, prompts: Prompts, before: int, after: int) -> dict[str, Any]:
    """Read all but the last token of `prompts` both ways. Return the arguments with which
    `model.generate` goes on from there; it reads the last token, like the answer, causally.

    The sentence lies between the first `before` and the last `after` tokens of each prompt.
    """
    import torch
    from transformers import DynamicCache

    base = _without_peft(model)
    cache = DynamicCache()  # without a config, it also keeps what a sliding window leaves behind
    renamed = "cache" in inspect.signature(base.model.forward).parameters  # in transformers 5.24
    keep = {("cache" if renamed else "past_key_values"): cache}
    most = Prompts(prompts.ids[:, :-1], prompts.mask[:, :-1])
    with torch.inference_mode():
        _read(model, most, before, after - 1, use_cache=True, **keep)
    inputs = {"input_ids": prompts.ids, "attention_mask": prompts.mask}
    return {name: tensor.to(base.device) for name, tensor in inputs.items()} | keep


def _read(model: Any, prompts: Prompts, before: int, after: int, **options: Any) -> Any:
    base = _without_peft(model)
    positions = (prompts.mask.cumsum(1) - 1).clamp(min=0)
    return base.model(
        input_ids=prompts.ids.to(base.device),
        position_ids=positions.to(base.device),
        attention_mask=_masks(base, prompts.mask, before, after),
        **{"use_cache": False, **options},
    )


def _masks(base: Any, mask: "torch.Tensor", before: int, after: int) -> Any:
    """Return the attention bias [prompts, 1, longest, longest], or one for each type of layer if
    only some have a sliding window."""
    import torch

    longest = mask.shape[1]
    place = torch.arange(longest)
    first = longest - mask.sum(1) + before
    in_sentence = (place >= first[:, None]) & (place < longest - after)
    allowed = (place <= place[:, None]) | (in_sentence[:, :, None] & in_sentence[:, None])
    allowed &= mask.bool()[:, None]

    def bias(allowed: torch.Tensor) -> torch.Tensor:
        values = torch.zeros(allowed.shape, dtype=base.dtype)
        values.masked_fill_(~allowed, torch.finfo(base.dtype).min)
        return values[:, None].to(base.device)

    types = set(getattr(base.config, "layer_types", None) or ())
    window = getattr(base.config, "sliding_window", None)
    near = place[:, None] - place < (window or longest)
    if len(types) > 1:
        return {"full_attention": bias(allowed), "sliding_attention": bias(allowed & near)}
    return bias(allowed if "full_attention" in types else allowed & near)


def _without_peft(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model
