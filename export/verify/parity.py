"""Compare the output of a GGUF file with that of the torch model it was exported from.

Both read the same prompts of the task, with answers, and their next-token distributions are
compared at every position, causally. Of a model that reads both ways, the tags of the word head are
compared too. In float32 they must agree to a few digits, which shows that merging and conversion
are correct. f16 and bf16 round weights and activations, so their limits are wider.
Smaller quantization types have no limit: `ner-edge eval` measures their loss.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_edge.data.corpus import Sentence
from ner_edge.errors import UsageError, missing_extra
from ner_edge.export.describe.manifest import CheckResult
from ner_edge.export.read.adapter import open_adapter
from ner_edge.export.read.source import base_sha256, open_base
from ner_edge.export.verify.tokens import BATTERY, check_tokens
from ner_edge.gguf.metadata import ModelMetadata, describe
from ner_edge.memory import check_memory
from ner_edge.spans import Span
from ner_edge.task import Task

if TYPE_CHECKING:
    from ner_edge.hf.prompts import PromptEncoder


class DistributionDifference(NamedTuple):
    """The largest difference between two arrays of distributions in a probability, and their mean
    KL(expected ‖ actual), in nats."""

    probability: float
    mean_kl: float


LIMITS = {
    "f32": DistributionDifference(5e-3, 1e-5),
    "f16": DistributionDifference(0.15, 5e-3),
    "bf16": DistributionDifference(0.3, 2e-2),
}
"""The largest difference allowed for each quantization type; other types have no limit.

Measured differences in probability: 5.7e-6, 3.3e-3 and 2.2e-2 for the default model (7e-9, 3e-3 and
0.16 millinats), 1.1e-5, 2.1e-3 and 1.3e-2 for Qwen2.5-Coder-0.5B, and 6.4e-2 for its f16 with a
random adapter, which enlarges activations. A wrong conversion is off by nats."""


def check_parity(
    model: Path, base: Path, adapter: Path | None, *, threads: int | None = None
) -> Iterator[CheckResult]:
    """Compare a GGUF file with `base` and `adapter` in torch: provenance, tokens, distributions.

    Needs torch, and memory for the base in float32. Raises `UsageError` if torch is not installed,
    the file has no task, or its adapter is not given; `ModelError` if base or adapter is damaged.
    """
    metadata = describe(model)
    if metadata.task is None:
        raise UsageError(f"{model}: contains no task, so there are no prompts to compare")
    if adapter is None and "adapter" in metadata.provenance:
        raise UsageError(f"{model}: was made with an adapter; give its folder with --adapter")
    try:
        import peft  # noqa: F401
        import torch
    except ImportError as error:
        raise missing_extra("train", error) from None
    from ner_edge.hf.prompts import PromptEncoder
    from ner_edge.hf.torch_model import load_adapted

    yield (provenance := _check_provenance(metadata, base, adapter))
    if not provenance.ok:
        return
    yield check_tokens(model, base)
    check_memory(4 * metadata.parameters + metadata.size_bytes)
    if threads is not None:
        torch.set_num_threads(threads)
    torch_model, tokenizer = load_adapted(base, adapter, torch.float32, torch.device("cpu"))
    prompts = _prompts(metadata.task, tokenizer)
    yield _check_distributions(metadata, torch_model, prompts, threads)
    if metadata.word_head:
        encoder = PromptEncoder(tokenizer, metadata.task)
        yield _check_tags(metadata, torch_model, encoder, threads)


def _check_provenance(metadata: ModelMetadata, base: Path, adapter: Path | None) -> CheckResult:
    """Compare the hashes of base and adapter with those in the file's metadata."""
    opened = open_base(base)
    given = {"base": base_sha256(opened)}
    if adapter is not None:
        given["adapter"] = open_adapter(adapter, opened).sha256
    for what, sha256 in given.items():
        recorded = metadata.provenance.get(what)
        if recorded != sha256:
            return CheckResult("provenance", False, f"another {what}: {recorded}, not {sha256}")
    return CheckResult("provenance", True, f"made from this {' and this '.join(given)}")


def _prompts(task: Task, tokenizer: Any) -> list[list[int]]:
    """The token ids of prompts with answers that mark the first two words as an entity."""
    from ner_edge.hf.prompts import PromptEncoder

    encoder = PromptEncoder(tokenizer, task)
    label = next(iter(task.labels))
    prompts = []
    for text in BATTERY:
        words = unicodedata.normalize("NFC", text).split(" ")
        example = encoder.example(Sentence(words, [Span(0, 2, label)]))
        prompts.append(encoder.prefix + example.prompt + example.response)
    return prompts


def _check_distributions(
    metadata: ModelMetadata, torch_model: Any, prompts: Sequence[list[int]], threads: int | None
) -> CheckResult:
    difference = _compare_prompts(metadata.path, torch_model, prompts, threads)
    limit = LIMITS.get(metadata.quant)
    detail = (
        f"largest probability difference {difference.probability:.2g}, mean KL divergence "
        f"{1000 * difference.mean_kl:.2g} millinats over {sum(map(len, prompts))} tokens of "
        f"{len(prompts)} prompts"
    )
    if limit is None:
        return CheckResult("parity", True, f"{detail} ({metadata.quant}: no limit)")
    detail += f" (limits for {metadata.quant}: {limit.probability:g} and {1000 * limit.mean_kl:g})"
    passed = difference.probability <= limit.probability and difference.mean_kl <= limit.mean_kl
    return CheckResult("parity", passed, detail)


def _check_tags(
    metadata: ModelMetadata, torch_model: Any, encoder: "PromptEncoder", threads: int | None
) -> CheckResult:
    """Compare the probabilities of the tags of the words of `BATTERY`, at every depth."""
    from ner_edge.hf.both_ways import word_states

    head = metadata.word_head
    assert head is not None
    sentences = [unicodedata.normalize("NFC", text).split(" ") for text in BATTERY]
    depths = sorted(head.layers)
    expected = word_states(torch_model, encoder, sentences, depths)
    actual = _gguf_word_states(metadata, sentences, depths, threads)
    largest = 0.0
    for ours, theirs in zip(actual, expected, strict=True):
        for depth in depths:
            states = ours[depth], theirs[depth].float().numpy()
            p, q = (np.exp(head.log_probabilities(x, depth)) for x in states)
            largest = max(largest, float(np.abs(p - q).max()))
    after = ", ".join(map(str, depths))
    detail = f"largest difference {largest:.2g} of a tag's probability after layers {after}"
    limit = LIMITS.get(metadata.quant)
    if limit is None:
        return CheckResult("tags", True, f"{detail} ({metadata.quant}: no limit)")
    detail += f" (limit for {metadata.quant}: {limit.probability:g})"
    return CheckResult("tags", largest <= limit.probability, detail)


def _gguf_word_states(
    metadata: ModelMetadata,
    sentences: Sequence[Sequence[str]],
    depths: Sequence[int],
    threads: int | None,
) -> Iterator[dict[int, NDArray[np.float32]]]:
    """Yield the hidden states of each sentence's words in llama.cpp, [words, width], by depth."""
    from ner_edge.prompt import PromptTokenizer
    from ner_edge.runtime.batch import Run
    from ner_edge.runtime.llama import PREFIX, LlamaModel
    from ner_edge.runtime.prefix import evaluate_prefix
    from ner_edge.runtime.reader import tokenize_words
    from ner_edge.runtime.trie import ChunkTokenizer

    task = metadata.task
    assert task is not None
    with closing(
        LlamaModel(metadata.path, context=1024, sequences=2, threads=threads, states=True)
    ) as model:
        prefix = PromptTokenizer(task.prefix, task.suffix, model.tokenize).prefix
        evaluate_prefix(model, prefix)
        chunks = ChunkTokenizer(model.tokenize)
        for words in sentences:
            tokens, ends = tokenize_words([words], chunks)
            states = {}
            for depth in depths:
                model.share(PREFIX, 1)
                run = Run(1, len(prefix), tokens, ends)
                (states[depth],) = model.read([run], depth=None if depth == depths[-1] else depth)
                model.forget(1, 0)
            yield states


def _compare_prompts(
    model: Path, torch_model: Any, prompts: Sequence[list[int]], threads: int | None
) -> DistributionDifference:
    differences = [
        compare_distributions(distributions(actual), distributions(torch_logits(torch_model, ids)))
        for ids, actual in zip(prompts, gguf_logits(model, prompts, threads=threads), strict=True)
    ]
    weighted = sum(
        difference.mean_kl * len(ids) for difference, ids in zip(differences, prompts, strict=True)
    )
    return DistributionDifference(
        max(difference.probability for difference in differences), weighted / sum(map(len, prompts))
    )


def compare_distributions(
    actual: NDArray[np.float64], expected: NDArray[np.float64]
) -> DistributionDifference:
    """Compare two arrays of distributions, [tokens, vocabulary]."""
    divergence = (expected * np.log((expected + 1e-12) / (actual + 1e-12))).sum(axis=-1)
    return DistributionDifference(float(np.abs(actual - expected).max()), float(divergence.mean()))


def distributions(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Compute the softmax of each row."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def torch_logits(model: Any, ids: Sequence[int]) -> NDArray[np.float32]:
    """Compute the logits of a torch model at every position, [tokens, vocabulary]."""
    import torch

    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.tensor([list(ids)])).logits[0].float().numpy()
    return logits


def gguf_logits(
    path: Path, prompts: Sequence[Sequence[int]], *, threads: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """Compute llama.cpp's logits at every position of each prompt, [tokens, vocabulary], with a
    float32 KV cache."""
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
            model.n_tokens = 0  # forget the previous prompt
            model.eval(list(ids))
            yield np.array(model.scores[: len(ids)])
    finally:
        model.close()
