"""Results on the same sentences compared with a baseline: ΔF1, its interval, flips."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.eval.bootstrap import (
    Verdict,
    delta_f1_resamples,
    flips,
    interval,
    strict_counts,
    verdicts,
)
from ner_edge.eval.gold import Gold
from ner_edge.eval.result import ModelResult


@dataclass(frozen=True)
class BaselineDifference:
    """A model against the baseline: ΔF1 in percentage points with its 95 % interval, and flips."""

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
    """The baseline's name; None with a single model."""
    differences: dict[str, BaselineDifference]
    """By model name, all zeros for the baseline; empty without a baseline."""

    @property
    def notes(self) -> list[str]:
        """Messages for the reader of the figures."""
        return self.gold.notes + [note for result in self.results for note in result.notes]


def compare_results(results: list[ModelResult], gold: Gold, baseline: str) -> Comparison:
    """Compare `results` with the one named `baseline`."""
    if len(results) < 2:
        return Comparison(gold, results, None, {})
    reference = next(result for result in results if result.name == baseline)
    return Comparison(gold, results, baseline, _differences(results, reference, gold))


def _differences(
    results: Sequence[ModelResult], reference: ModelResult, gold: Gold
) -> dict[str, BaselineDifference]:
    reference_counts = strict_counts(gold.spans, reference.predictions)
    deltas = {
        result.name: delta_f1_resamples(
            strict_counts(gold.spans, result.predictions), reference_counts
        )
        for result in results
    }
    verdict_of = verdicts({name: delta for name, delta in deltas.items() if name != reference.name})
    differences = {}
    for result in results:
        low, high = interval(deltas[result.name])
        differences[result.name] = BaselineDifference(
            delta_f1=result.f1 - reference.f1,
            ci_low=low,
            ci_high=high,
            flips=flips(result.predictions, reference.predictions),
            verdict=verdict_of.get(result.name),
            per_label=_delta_per_label(result, reference),
        )
    return differences


def _delta_per_label(result: ModelResult, reference: ModelResult) -> dict[str, float]:
    scores = reference.metrics.per_label
    return {
        label: score.f1 - scores[label].f1
        for label, score in result.metrics.per_label.items()
        if label in scores
    }


def unique_names(names: Sequence[str]) -> list[str]:
    """Number repeated names: a second `q4` becomes `q4-2`.

    Bytes of a file name that are not UTF-8 become U+FFFD.
    """
    unique: list[str] = []
    for name in (os.fsencode(name).decode("utf-8", "replace") for name in names):
        candidate, number = name, 1
        while candidate in unique:
            number += 1
            candidate = f"{name}-{number}"
        unique.append(candidate)
    return unique


def find_baseline(baseline: str | None, models: Sequence[tuple[str, Path]]) -> str:
    """Return the name of the model that has the name or path `baseline`; for None, the first.

    Raises `UsageError` if there is no such model.
    """
    if baseline is None:
        return models[0][0]
    for name, path in models:
        if baseline in (name, str(path)):
            return name
    names = ", ".join(name for name, _ in models)
    raise UsageError(f"--baseline {baseline}: no such model; choose one of: {names}")
