"""Several models on the same sentences: each one's scores, and how it differs from a baseline."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ner_edge.data.readers.columns import Columns
from ner_edge.errors import ModelError, UsageError
from ner_edge.eval.agreement import Agreement
from ner_edge.eval.bootstrap import (
    Verdict,
    delta_f1_resamples,
    flips,
    interval,
    strict_counts,
    verdicts,
)
from ner_edge.eval.cost import Cost
from ner_edge.eval.evaluate import Candidate, ModelResult, Progress, Tagger, evaluate_model
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.eval.metrics import require_libraries
from ner_edge.spans import Span

Measure = Callable[[Path, Gold], Cost | None]
"""Tells what a model costs beside its size."""

Agree = Callable[[Path, Gold, Sequence[Sequence[Span]]], Callable[[Path], Agreement | None]]
"""Given the baseline and its predictions, a function that tells how close another model's decisions
are to the baseline's."""


@dataclass(frozen=True)
class Difference:
    """A model against the baseline: F1 in percentage points with its 95 % interval, and flips."""

    delta_f1: float
    ci_low: float
    ci_high: float
    flips: int
    verdict: Verdict | None
    """None for the baseline itself."""
    per_label: dict[str, float]
    """ΔF1 of each label, in percentage points."""


@dataclass(frozen=True)
class Comparison:
    """All models' results on one gold standard."""

    gold: Gold
    results: list[ModelResult]
    baseline: str | None
    """The name of the model that the others are compared with; None with a single model."""
    differences: dict[str, Difference]
    """By model name, the baseline's own (all zeros) included; empty without a baseline."""

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures must know, for standard error."""
        return self.gold.notes + [note for result in self.results for note in result.notes]


def run_eval(
    data: Path,
    models: Sequence[tuple[str, Path]],
    *,
    load_tagger: Callable[[Path], Tagger],
    first: Sequence[Candidate] = (),
    baseline: str | None = None,
    limit: int | None = None,
    columns: Columns | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    measure: Measure | None = None,
    agree: Agree | None = None,
) -> Comparison:
    """Evaluate models, given as (name, path), on the labelled sentences of `data`, one at a time.

    `first` are models that come before them and load otherwise. `baseline` is a name or a path
    among all, by default the first; `limit` keeps the first sentences, `columns` says where CoNLL
    has its words and tags; predictions are kept in
    `cache_dir` and reused from there. `measure`, if given, tells what a model of `models` costs,
    `agree` how close the decisions of a GGUF are to those of a baseline that is one. A repeated
    name gets a number. Raises `UsageError`, `DataError` or `ModelError` before any model is
    loaded.
    """
    require_libraries()
    if not models and not first:
        raise UsageError("evaluation needs at least one model")
    missing = [str(path) for _, path in models if not path.exists()]
    if missing:
        raise ModelError(f"no such model: {', '.join(missing)}")
    candidates = [*first]
    for name, path in models:
        cost = None if measure is None else partial(measure, path)
        candidates.append(Candidate(name, path, partial(load_tagger, path), measure=cost))
    names = unique_names([candidate.name for candidate in candidates])
    candidates = [replace(c, name=name) for c, name in zip(candidates, names, strict=True)]
    reference = find_baseline(baseline, [(c.name, c.path) for c in candidates])
    gold = read_gold(data, limit, columns=columns)
    return compare(candidates, gold, reference, cache_dir=cache_dir, progress=progress, agree=agree)


def compare(
    candidates: Sequence[Candidate],
    gold: Gold,
    baseline: str,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    agree: Agree | None = None,
) -> Comparison:
    """Evaluate each candidate, only one loaded at a time, then set it beside `baseline`."""
    results = []
    for candidate in candidates:
        tagger = candidate.load()
        try:
            result = evaluate_model(tagger, candidate, gold, cache_dir=cache_dir, progress=progress)
        finally:
            tagger.close()
            del tagger  # or it would live until the next model is loaded beside it
        cost = candidate.measure(gold) if candidate.measure else None
        results.append(replace(result, cost=cost))
    reference = next(result for result in results if result.name == baseline)
    if agree is not None and reference.path.suffix == ".gguf":
        agreement_of = agree(reference.path, gold, reference.predictions)
        results = [
            replace(result, agreement=agreement_of(result.path))
            if result is not reference and result.path.suffix == ".gguf"
            else result
            for result in results
        ]
    return set_beside(results, gold, baseline)


def set_beside(results: list[ModelResult], gold: Gold, baseline: str) -> Comparison:
    """The comparison of `results` with that of the name `baseline`."""
    if len(results) < 2:
        return Comparison(gold, results, None, {})
    reference = next(result for result in results if result.name == baseline)
    return Comparison(gold, results, baseline, _differences(results, reference, gold))


def _differences(
    results: Sequence[ModelResult], reference: ModelResult, gold: Gold
) -> dict[str, Difference]:
    counts = strict_counts(gold.spans, reference.predictions)
    deltas = {
        result.name: delta_f1_resamples(strict_counts(gold.spans, result.predictions), counts)
        for result in results
    }
    said = verdicts({name: delta for name, delta in deltas.items() if name != reference.name})
    differences = {}
    for result in results:
        low, high = interval(deltas[result.name])
        scores = reference.metrics.per_label
        differences[result.name] = Difference(
            delta_f1=result.f1 - reference.f1,
            ci_low=low,
            ci_high=high,
            flips=flips(result.predictions, reference.predictions),
            verdict=said.get(result.name),
            per_label={
                label: score.f1 - scores[label].f1
                for label, score in result.metrics.per_label.items()
                if label in scores
            },
        )
    return differences


def unique_names(names: Sequence[str]) -> list[str]:
    """The names in order, as text whatever bytes files have in theirs; the second `q4` becomes
    `q4-2`."""
    unique: list[str] = []
    for name in (os.fsencode(name).decode("utf-8", "replace") for name in names):
        candidate, number = name, 1
        while candidate in unique:
            number += 1
            candidate = f"{name}-{number}"
        unique.append(candidate)
    return unique


def find_baseline(baseline: str | None, models: Sequence[tuple[str, Path]]) -> str:
    """The name of the model that `baseline` names or is the path of; of the first for None."""
    if baseline is None:
        return models[0][0]
    for name, path in models:
        if baseline in (name, str(path)):
            return name
    names = ", ".join(name for name, _ in models)
    raise UsageError(f"no model '{baseline}' to compare with; the models are: {names}")
