"""How close a model's decisions are to the baseline's, which few flips in F1 may hide.

Both models read the baseline's own answers to the same sentences, so that their decisions stand in
the same places.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ner_edge.errors import ModelError, NerEdgeError, NerEdgeWarning
from ner_edge.eval.gold import Gold
from ner_edge.eval.prediction_cache import measured_once, sha256_of
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe
from ner_edge.spans import Span

if TYPE_CHECKING:
    from ner_edge.runtime.decisions import Answer, Decision

SENTENCES = 300  # read at most, evenly from the data


@dataclass(frozen=True)
class Agreement:
    """Over the decisions between legal branches on the way of the baseline's answers."""

    mean_kl: float
    """Mean KL(baseline ‖ model) of a decision, in nats."""
    same_branch: float
    """Share of decisions whose likeliest branch is the same, in percent."""
    decisions: int


def agreement_with(
    baseline: Path,
    gold: Gold,
    predictions: Sequence[Sequence[Span]],
    *,
    threads: int | None = None,
    gpu_layers: int | None = None,
    cache_dir: Path | None = None,
) -> Callable[[Path], Agreement | None]:
    """How the decisions of other GGUF files agree with those of `baseline` on its `predictions`, as
    a function of their paths; None for a file of other labels or another vocabulary, which has
    other decisions.

    What an earlier run kept in `cache_dir` is not measured again; the baseline is read once, when
    first needed.
    """
    from ner_edge.runtime.engine import DECODER_VERSION
    from ner_edge.runtime.llama import LIBRARY

    step = -(-len(gold.sentences) // SENTENCES)
    answers = [
        (sentence.words, list(spans))
        for sentence, spans in zip(gold.sentences[::step], predictions[::step], strict=True)
    ]
    expected = cache(lambda: _read(baseline, answers, threads, gpu_layers))
    choices = _choices(baseline)

    def agreement(path: Path) -> Agreement | None:
        if _choices(path) != choices:
            return None
        return measured_once(
            cache_dir,
            Agreement,
            [sha256_of(path), sha256_of(baseline), answers, DECODER_VERSION, LIBRARY],
            lambda: measure(path),
        )

    def measure(path: Path) -> Agreement | None:
        try:
            return _compare(expected(), _read(path, answers, threads, gpu_layers))
        except NerEdgeError as error:  # no reason to lose all the rest
            warnings.warn(
                f"{path}: its agreement with {baseline} could not be measured ({error})",
                NerEdgeWarning,
                stacklevel=2,
            )
            return None

    return agreement


def _choices(path: Path) -> list[Any]:
    """What decides between which tokens a model has to choose."""
    task, metadata = describe(path).task, GGUFFile(path).metadata()
    vocabulary = (metadata.get(f"tokenizer.ggml.{part}") for part in ("tokens", "merges"))
    return [task and list(task.labels), *(values and values.value for values in vocabulary)]


def _read(
    path: Path, answers: "Sequence[Answer]", threads: int | None, gpu_layers: int | None
) -> "list[list[Decision]]":
    from ner_edge.runtime.decisions import read_decisions
    from ner_edge.runtime.llama import LlamaModel

    task = describe(path).task
    if task is None:
        raise ModelError(f"{path}: holds no ner-edge task")
    model = LlamaModel(path, context=4096, sequences=9, threads=threads, gpu_layers=gpu_layers)
    try:
        return list(read_decisions(model, task, answers))
    finally:
        model.close()


def _compare(theirs: "list[list[Decision]]", ours: "list[list[Decision]]") -> Agreement:
    from ner_edge.runtime.decisions import mean_kl

    pairs = [
        (p.probabilities.argmax(), q.probabilities.argmax())
        for a, b in zip(theirs, ours, strict=True)
        for p, q in zip(a, b, strict=True)
    ]
    same = sum(bool(p == q) for p, q in pairs)
    return Agreement(mean_kl(theirs, ours), 100 * same / max(1, len(pairs)), len(pairs))
