"""Does a GGUF file compute what the model computes that it was made of?

The torch model, base and adapter in float32, and the file read the same prompts of the task with
answers, and their distributions of the next token are compared at every position. What runs in
float32 must agree to a few digits, which shows that merge and conversion are right; f16 and bf16
round weights and activations; what quantization may cost is for `ner-edge eval` to say.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_edge.data.corpus import Sentence
from ner_edge.errors import UsageError, missing_extra
from ner_edge.export.describe.manifest import Check
from ner_edge.export.read.adapter import open_adapter
from ner_edge.export.read.source import base_sha256, open_base
from ner_edge.export.verify.tokens import BATTERY, check_tokens
from ner_edge.gguf.metadata import ModelFacts, describe
from ner_edge.memory import check_memory
from ner_edge.spans import Span
from ner_edge.task import Task


class Difference(NamedTuple):
    """Between two lists of distributions: the largest of a probability, and the mean
    KL(expected ‖ actual), in nats."""

    probability: float
    mean_kl: float


LIMITS = {
    "f32": Difference(5e-3, 1e-5),
    "f16": Difference(0.15, 5e-3),
    "bf16": Difference(0.3, 2e-2),
}
"""What may differ, by the level of the file; the others have no limit. Measured: the default model
5.7e-6, 3.3e-3 and 2.2e-2 in probability (7e-9, 3e-3 and 0.16 millinats), Qwen2.5-Coder-0.5B 1.1e-5,
2.1e-3 and 1.3e-2; with a random adapter, which enlarges activations, Qwen's f16 reached 6.4e-2. A
wrong conversion differs by nats."""


def check_parity(
    model: Path, base: Path, adapter: Path | None, *, threads: int | None = None
) -> Iterator[Check]:
    """Compare a GGUF file with torch: what it is made of, tokens, then distributions.

    Needs torch, and memory for `base` in float32. Raises `UsageError` without torch, if the file
    holds no task, or if an adapter is missing, `ModelError` if base or adapter are damaged.
    """
    facts = describe(model)
    if facts.task is None:
        raise UsageError(f"{model}: holds no task, whose prompts could be compared")
    if adapter is None and "adapter" in facts.provenance:
        raise UsageError(f"{model}: was made with an adapter; give its folder with --adapter")
    try:
        import peft  # noqa: F401
        import torch
    except ImportError as error:
        raise missing_extra("train", error) from None
    from ner_edge.hf.torch_model import load_adapted

    yield (origin := _made_of(facts, base, adapter))
    if not origin.ok:
        return
    yield check_tokens(model, base)
    check_memory(4 * facts.parameters + facts.size_bytes)
    if threads is not None:
        torch.set_num_threads(threads)
    ours, tokenizer = load_adapted(base, adapter, torch.float32, torch.device("cpu"))
    yield _same_distributions(facts, facts.task, ours, tokenizer, threads)


def _made_of(facts: ModelFacts, base: Path, adapter: Path | None) -> Check:
    """Are they what the file's metadata name?"""
    opened = open_base(base)
    given = {"base": base_sha256(opened)}
    if adapter is not None:
        given["adapter"] = open_adapter(adapter, opened).sha256
    for what, digest in given.items():
        recorded = facts.provenance.get(what)
        if recorded != digest:
            return Check("made of", False, f"another {what}: {recorded}, not {digest}")
    return Check("made of", True, f"this {' and this '.join(given)}")


def _same_distributions(
    facts: ModelFacts, task: Task, model: Any, tokenizer: Any, threads: int | None
) -> Check:
    from ner_edge.hf.prompts import PromptEncoder

    encoder = PromptEncoder(tokenizer, task)
    label = next(iter(task.labels))
    prompts = []
    for text in BATTERY:
        words = unicodedata.normalize("NFC", text).split(" ")
        example = encoder.example(Sentence(words, [Span(0, 2, label)]))
        prompts.append(encoder.prefix + example.prompt + example.response)
    found = [
        difference(distributions(theirs), distributions(torch_logits(model, ids)))
        for ids, theirs in zip(
            prompts, gguf_logits(facts.path, prompts, threads=threads), strict=True
        )
    ]
    tokens = sum(map(len, prompts))
    probability = max(d.probability for d in found)
    mean_kl = sum(d.mean_kl * len(ids) for d, ids in zip(found, prompts, strict=True)) / tokens
    limit = LIMITS.get(facts.quant)
    detail = (
        f"largest probability difference {probability:.2g}, mean KL {1000 * mean_kl:.2g} millinats "
        f"over {tokens} tokens of {len(prompts)} prompts"
    )
    if limit is None:
        return Check("parity", True, f"{detail} ({facts.quant}: no limit)")
    detail += f" (at most {limit.probability:g} and {1000 * limit.mean_kl:g} for {facts.quant})"
    return Check("parity", probability <= limit.probability and mean_kl <= limit.mean_kl, detail)


def difference(actual: NDArray[np.float64], expected: NDArray[np.float64]) -> Difference:
    """How far two arrays of distributions, [tokens, vocabulary], are apart."""
    divergence = (expected * np.log((expected + 1e-12) / (actual + 1e-12))).sum(axis=-1)
    return Difference(float(np.abs(actual - expected).max()), float(divergence.mean()))


def distributions(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The softmax of each row."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def torch_logits(model: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    """Logits of a torch model for every position, [tokens, vocabulary]."""
    import torch

    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.tensor([list(ids)])).logits[0].float().numpy()
    return logits


def gguf_logits(
    path: Path, prompts: Sequence[Sequence[int]], *, threads: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Logits of llama.cpp for every position of each prompt, [tokens, vocabulary], with a float32
    KV cache."""
    import llama_cpp

    from ner_edge.runtime.llama import start_backend

    start_backend()
    longest = max(map(len, prompts))
    model = llama_cpp.Llama(
        str(path),
        n_ctx=longest,
        n_batch=longest,
        n_threads=threads,
        n_threads_batch=threads,
        logits_all=True,
        verbose=False,
        type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32,
    )
    try:
        for ids in prompts:
            model.n_tokens = 0  # forget the prompt before
            model.eval(list(ids))
            yield np.array(model.scores[: len(ids)])
    finally:
        model.close()
