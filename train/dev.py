"""How good an adapter is on a development set: unconstrained greedy decoding in torch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from ner_edge.brackets import parse_brackets
from ner_edge.corpus import Sentence
from ner_edge.spans import strict_f1
from ner_edge.train.packing import PromptEncoder

_BATCH = 32


def dev_f1(
    model: Any,
    tokenizer: Any,
    encoder: PromptEncoder,
    sentences: Sequence[Sentence],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> float:
    """Strict micro F1 in percent of `model`'s own answers, aligned to the source words.

    Sentences of similar length are decoded together, padded on the left.
    """
    order = sorted(range(len(sentences)), key=lambda i: len(sentences[i].words))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    base = model.get_base_model()
    attention = base.config._attn_implementation
    base.set_attn_implementation("sdpa")  # the packed one knows no cache and no padding
    predicted: list[list[Any]] = [[] for _ in sentences]
    try:
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            prompts = [encoder.prompt(sentences[i]) for i in chosen]
            # Enough for one entity per token: `[`, the token, ` |`, its label and `]`.
            limit = 6 * max(map(len, prompts)) + 32
            prompts = [encoder.prefix + prompt for prompt in prompts]
            answers = _generate(model, tokenizer, prompts, pad, limit)
            for i, answer in zip(chosen, answers, strict=True):
                words = sentences[i].words
                predicted[i] = parse_brackets(answer, words, encoder.task.labels).spans
            report(start + len(chosen), len(order))
    finally:
        base.set_attn_implementation(attention)
    return strict_f1((sentence.spans for sentence in sentences), predicted)


def _generate(
    model: Any, tokenizer: Any, prompts: list[list[int]], pad: int, limit: int
) -> list[str]:
    longest = max(map(len, prompts))
    padding = [longest - len(prompt) for prompt in prompts]
    ids = torch.tensor([[pad] * n + p for n, p in zip(padding, prompts, strict=True)])
    mask = torch.tensor([[0] * n + [1] * len(p) for n, p in zip(padding, prompts, strict=True)])
    with torch.inference_mode():
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=limit,
            do_sample=False,
            pad_token_id=pad,
            stop_strings=["\n"],
            tokenizer=tokenizer,
        )
    texts: list[str] = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    return texts
