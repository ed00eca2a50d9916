"""An adapter on its base in torch, decoding greedily and unconstrained, as published.

Imports torch and peft, so import this module only where it is needed.
"""

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any

import peft
import torch
import transformers

from ner_edge.brackets import parse_brackets
from ner_edge.errors import ModelError
from ner_edge.hf.bfloat16 import is_slow_on_cpu, multiply_in_float32
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.torch_model import BATCH, answer_sentences, load_adapted
from ner_edge.hf.word_head import HEAD_FILE
from ner_edge.spans import ScoredSpan
from ner_edge.task import Task
from ner_edge.terminal.counts import counted

_WINDOW = 2 * BATCH  # sentences that are sorted by length into batches


class TorchTagger:
    """Base and adapter in bfloat16, not merged, on the GPU if there is one; loaded on first use.

    Entities are aligned with the sentence's words; they have no scores, so each gets 1. The caller
    has checked that the adapter fits the base.
    """

    version = ", ".join(
        ["3", *(f"{lib.__name__} {lib.__version__}" for lib in (torch, transformers, peft))]
    )
    """Increment the number with every change that may alter predictions."""

    output: str | None = None
    """The raw output from which the last entities were read."""

    def __init__(self, base: Path, adapter: Path, task: Task, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.task = task
        self._base, self._adapter = base, adapter
        self._device = _device()
        self.hardware = counted(torch.get_num_threads(), "thread")
        if self._device.type != "cpu":
            self.hardware = f"a GPU ({self._device.type})"
        self._loaded: tuple[Any, Any] | None = None  # model and tokenizer
        self._both_ways = (adapter / HEAD_FILE).exists()
        read = ", read both ways" if self._both_ways else ""
        self.decoder = f"unconstrained greedy{read} (torch bf16, {self._device.type})"

    def tag_words(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[ScoredSpan]]:
        """Yield the entities of each sentence, in order; the model is loaded before this returns.
        An empty sentence has none.

        Raises `ModelError` if it cannot be loaded, or does not fit into memory.
        """
        with _enough_memory(self._device):
            model, tokenizer = self._load()
        return self._tag(model, tokenizer, iter(sentences))

    def _tag(
        self, model: Any, tokenizer: Any, remaining: Iterator[Sequence[str]]
    ) -> Iterator[list[ScoredSpan]]:
        encoder = PromptEncoder(tokenizer, self.task)
        while window := list(islice(remaining, _WINDOW)):
            filled = [words for words in window if words]
            answers: dict[int, str] = {}
            with _enough_memory(self._device):
                for batch in answer_sentences(
                    model, tokenizer, encoder, filled, both_ways=self._both_ways
                ):
                    answers.update(batch)
            numbers = count()
            for words in window:
                self.output = answers[next(numbers)] if words else ""
                spans = parse_brackets(self.output, words, self.task.labels).spans
                yield [ScoredSpan(*span, 1.0) for span in spans]

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_adapted(self._base, self._adapter, torch.bfloat16, self._device)
            if self._device.type == "cpu" and is_slow_on_cpu():
                multiply_in_float32(self._loaded[0])
        return self._loaded

    def close(self) -> None:
        """Free the model."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _device() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextmanager
def _enough_memory(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"the memory of the {device.type} device is too small for this model; "
            "set CUDA_VISIBLE_DEVICES= (empty) to run it on the CPU"
        ) from error
