"""KL divergence of a model's decisions from the baseline's: a change that a small ΔF1 can hide.

Both models read the baseline's predictions as if they had written them, so they face the same
decisions.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_edge.errors import ModelError, NerEdgeError, NerEdgeWarning
from ner_edge.eval.gold import Gold
from ner_edge.eval.measured_once import measured_once
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe
from ner_edge.spans import Span

if TYPE_CHECKING:
    from ner_edge.runtime.decisions import Answer, Decision

SENTENCES = 300  # at most, evenly spaced in the data


@dataclass(frozen=True)
class Agreement:
    """How close a model's decisions between legal branches are to the baseline's."""

    mean_kl: float
    """Mean KL(baseline ‖ model) of a decision, in nats."""
    same_branch: float
    """Percentage of decisions with the same most probable branch."""
    decisions: int


class BaselineDecisions:
    """The decisions of a baseline GGUF on its own predictions, read once, when first needed."""

    def __init__(
        self,
        path: Path,
        gold: Gold,
        predictions: Sequence[Sequence[Span]],
        *,
        threads: int | None = None,
        gpu_layers: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        step = -(-len(gold.sentences) // SENTENCES)
        self._answers = [
            (sentence.words, list(spans))
            for sentence, spans in zip(gold.sentences[::step], predictions[::step], strict=True)
        ]
        self._path = path
        self._threads, self._gpu_layers, self._cache_dir = threads, gpu_layers, cache_dir

    def agreement(self, path: Path) -> Agreement | None:
        """Measure the agreement of another GGUF, or reuse the figures kept in the cache.

        None if its labels, its reading or its vocabulary differ, or, with a warning, if it cannot
        be measured.
        """
        from ner_edge.runtime.engine import DECODER_VERSION
        from ner_edge.runtime.llama import LIBRARY

        if _choices(path) != self._choices:
            return None
        files = [sha256_of(path), sha256_of(self._path)]
        key = [*files, self._answers, DECODER_VERSION, LIBRARY]
        return measured_once(self._cache_dir, Agreement, key, lambda: self._measure(path))

    def _measure(self, path: Path) -> Agreement | None:
        try:
            return _compare(self._decisions, self._read(path))
        except NerEdgeError as error:  # the other figures are still worth reporting
            warnings.warn(
                f"{path}: its agreement with {self._path} could not be measured ({error})",
                NerEdgeWarning,
                stacklevel=2,
            )
            return None

    @cached_property
    def _choices(self) -> list[Any]:
        return _choices(self._path)

    @cached_property
    def _decisions(self) -> "list[list[Decision]]":
        return self._read(self._path)

    def _read(self, path: Path) -> "list[list[Decision]]":
        return _read(path, self._answers, self._threads, self._gpu_layers)


def _choices(path: Path) -> list[Any]:
    """The labels, how it reads, and the vocabulary, which determine the branches of each
    decision."""
    model, metadata = describe(path), GGUFFile(path).metadata()
    vocabulary = (metadata.get(f"tokenizer.ggml.{part}") for part in ("tokens", "merges"))
    labels = model.task and list(model.task.labels)
    return [labels, model.reading, *(values and values.value for values in vocabulary)]


def _read(
    path: Path, answers: "Sequence[Answer]", threads: int | None, gpu_layers: int | None
) -> "list[list[Decision]]":
    from ner_edge.runtime.decisions import read_decisions
    from ner_edge.runtime.llama import LlamaModel

    metadata = describe(path)
    if metadata.task is None:
        raise ModelError(f"{path}: contains no ner-edge task")
    model = LlamaModel(
        path, context=4096, sequences=9, threads=threads, gpu_layers=gpu_layers, states=True
    )
    try:
        return list(read_decisions(model, metadata.task, answers, metadata.word_head))
    finally:
        model.close()


def _compare(baseline: "list[list[Decision]]", model: "list[list[Decision]]") -> Agreement:
    from ner_edge.runtime.decisions import mean_kl

    same = [
        p.probabilities.argmax() == q.probabilities.argmax()
        for a, b in zip(baseline, model, strict=True)
        for p, q in zip(a, b, strict=True)
    ]
    return Agreement(mean_kl(baseline, model), 100 * sum(same) / max(1, len(same)), len(same))
