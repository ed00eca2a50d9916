"""How close a model's decisions are to the baseline's, which few flips in F1 may hide.

Both models read the baseline's own answers to the same sentences, so that their decisions stand in
the same places.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ner_edge
from ner_edge.atomic import atomic_path
from ner_edge.eval.cache import sha256_of
from ner_edge.eval.gold import Gold
from ner_edge.spans import Span

SENTENCES = 300  # read at most, evenly from the data


@dataclass(frozen=True)
class Agreement:
    """Over the decisions between legal branches on the way of the baseline's answers."""

    mean_kl: float
    """Mean KL(baseline ‖ model) of a decision, in nats."""
    same_branch: float
    """Share of decisions whose likeliest branch is the same, in percent."""
    decisions: int


def measured_agreement(
    path: Path,
    baseline: Path,
    gold: Gold,
    predictions: Sequence[Sequence[Span]],
    *,
    threads: int | None = None,
    gpu_layers: int | None = None,
    cache_dir: Path | None = None,
) -> Agreement:
    """Compare the decisions of two GGUF files on the `predictions` of `baseline`, or read what an
    earlier run kept in `cache_dir`."""
    step = -(-len(gold.sentences) // SENTENCES)
    answers = [
        (sentence.words, list(spans))
        for sentence, spans in zip(gold.sentences[::step], predictions[::step], strict=True)
    ]
    kept = None
    if cache_dir is not None:
        key = [sha256_of(path), sha256_of(baseline), answers, ner_edge.__version__]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
        kept = cache_dir / f"{digest}.agreement.json"
        try:
            return Agreement(**json.loads(kept.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass
    read = _reader(threads, gpu_layers)
    agreement = _compare(read(baseline, answers), read(path, answers))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(kept) as temporary:
            temporary.write_text(json.dumps(asdict(agreement)), encoding="utf-8")
    return agreement


def _reader(threads: int | None, gpu_layers: int | None) -> Callable[[Path, Any], Any]:
    from ner_edge.errors import ModelError
    from ner_edge.facts import describe
    from ner_edge.runtime.decisions import read_decisions
    from ner_edge.runtime.llama import LlamaModel

    def read(path: Path, answers: Any) -> Any:
        task = describe(path).task
        if task is None:
            raise ModelError(f"{path}: holds no ner-edge task")
        model = LlamaModel(path, context=4096, sequences=9, threads=threads, gpu_layers=gpu_layers)
        try:
            return list(read_decisions(model, task, answers))
        finally:
            model.close()

    return read


def _compare(theirs: Any, ours: Any) -> Agreement:
    from ner_edge.runtime.decisions import mean_kl

    pairs = [
        (p.probabilities.argmax(), q.probabilities.argmax())
        for a, b in zip(theirs, ours, strict=True)
        for p, q in zip(a, b, strict=True)
    ]
    same = sum(bool(p == q) for p, q in pairs)
    return Agreement(mean_kl(theirs, ours), 100 * same / max(1, len(pairs)), len(pairs))
