"""Several models on the same sentences: each one's scores, and how it differs from a baseline."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Protocol

import ner_edge
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
from ner_edge.eval.cache import Prediction, prediction_cache, sha256_of
from ner_edge.eval.calibration import Calibration, calibration
from ner_edge.eval.cost import Cost
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.eval.metrics import Metrics, require_libraries, score_spans
from ner_edge.eval.outputs import OutputFaults, judge_outputs, pack_output
from ner_edge.facts import describe
from ner_edge.spans import ScoredSpan, Span
from ner_edge.task import Task

Progress = Callable[[str, int, int], None]
"""Called with a model's name, the sentences done, and the sentences in all."""

Measure = Callable[[Path, Gold], Cost | None]
"""Tells what a model costs beside its size."""

Agree = Callable[[Path, Path, Gold, Sequence[Sequence[Span]]], Agreement]
"""Tells how close a model's decisions are to the baseline's, given the baseline's predictions."""


class Tagger(Protocol):
    """What evaluation asks of a loaded model."""

    @property
    def task(self) -> Task:
        """The labels and the prompt it works with."""

    @property
    def decoder(self) -> str:
        """The decoder in use, by its command-line name."""

    @property
    def output(self) -> str | None:
        """The answer that the entities yielded last were read from; None where it is certain to be
        their sentence with them in brackets."""

    def tag_words(self, sentences: Iterable[list[str]]) -> Iterable[Sequence[ScoredSpan]]:
        """The entities of each sentence, in order."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate: its unique name, its file or folder, and how to load it."""

    name: str
    path: Path
    load: Callable[[], Tagger]
    base: Path | None = None
    """What the adapter in `path` runs on."""
    size_bytes: int | None = None
    """Of its weights as used; None means the file's size."""
    bits_per_weight: float | None = None
    """None means the file's."""
    measure: Callable[[Gold], Cost | None] | None = None


@dataclass(frozen=True)
class ModelResult:
    """One model's scores, size and speed; of predictions from a file only the scores are known."""

    name: str
    path: Path
    decoder: str | None
    metrics: Metrics
    predictions: list[list[Span]] = field(repr=False)
    calibration: Calibration | None = field(repr=False)
    """None if not every entity has a score."""
    size_bytes: int | None
    bits_per_weight: float | None
    """Achieved, over all tensors; None if unknown."""
    seconds: float | None
    """Decoding time, summed over all runs of a resumed evaluation; without loading."""
    notes: list[str]
    faults: OutputFaults | None = None
    """None for a decoder that commits none."""
    cost: Cost | None = None
    agreement: Agreement | None = None
    """With the baseline's decisions; None for the baseline, and where it is not known."""

    @property
    def f1(self) -> float:
        """Strict micro F1 in percent."""
        return self.metrics.micro.f1

    @property
    def misaligned(self) -> int:
        """Sentences whose output was malformed or changed its words."""
        return self.faults.misaligned if self.faults else 0

    @property
    def sentences_per_second(self) -> float | None:
        """Decoding speed."""
        return None if self.seconds is None else len(self.predictions) / max(self.seconds, 1e-9)


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
        return [note for result in self.results for note in result.notes]


def run_eval(
    data: Path,
    models: Sequence[tuple[str, Path]],
    *,
    load_tagger: Callable[[Path], Tagger],
    first: Sequence[Candidate] = (),
    baseline: str | None = None,
    limit: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    measure: Measure | None = None,
    agree: Agree | None = None,
) -> Comparison:
    """Evaluate models, given as (name, path), on the labelled sentences of `data`, one at a time.

    `first` are models that come before them and load otherwise. `baseline` is a name or a path
    among all, by default the first; `limit` keeps the first sentences; predictions are kept in
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
    gold = read_gold(data, limit)
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
        results = [
            replace(
                result,
                agreement=agree(result.path, reference.path, gold, reference.predictions),
            )
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


def evaluate_model(
    tagger: Tagger,
    candidate: Candidate,
    gold: Gold,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> ModelResult:
    """Tag the gold sentences and score the outcome; continue a cached pass where it ended."""
    key = {}
    if cache_dir is not None:
        key = {
            "model": sha256_of(candidate.path),
            "data": sha256_of(gold.path),
            "task": tagger.task.to_json(),
            "decoder": tagger.decoder,
            "version": ner_edge.__version__,
        }
        if candidate.base is not None:
            key["base"] = sha256_of(candidate.base)
    with prediction_cache(cache_dir, key) as (done, keep):
        predictions = done[: len(gold.sentences)]
        cached = len(predictions)
        for prediction in _tag(tagger, [s.words for s in gold.sentences[cached:]]):
            keep(prediction)
            predictions.append(prediction)
            if progress:
                progress(candidate.name, len(predictions), len(gold.sentences))
    if len(predictions) != len(gold.sentences):
        raise ModelError(
            f"{candidate.path}: gave {len(predictions)} answers to {len(gold.sentences)} sentences"
        )
    scored = [prediction.spans for prediction in predictions]
    spans = [[Span(*span[:3]) for span in found] for found in scored]
    outputs = [prediction.output for prediction in predictions if prediction.output is not None]
    faults = judge_outputs(gold.sentences, outputs, tagger.task.labels) if outputs else None
    result = ModelResult(
        name=candidate.name,
        path=candidate.path,
        decoder=tagger.decoder,
        metrics=score_spans(gold.spans, spans, gold.lengths),
        predictions=spans,
        calibration=None if faults else calibration(gold.spans, scored),
        size_bytes=candidate.size_bytes or _size(candidate.path),
        bits_per_weight=candidate.bits_per_weight or _bits_per_weight(candidate.path),
        seconds=sum(prediction.seconds for prediction in predictions),
        notes=[],
        faults=faults,
    )
    notes = _notes(candidate.name, gold, tagger.task.labels, cached, result.misaligned)
    return replace(result, notes=notes)


def _tag(tagger: Tagger, sentences: Sequence[list[str]]) -> Iterator[Prediction]:
    """Each sentence's prediction, with the time spent waiting for it and nothing else."""
    if not sentences:
        return
    answers = tagger.tag_words(sentences)
    started = perf_counter()
    for number, spans in enumerate(answers):
        seconds = perf_counter() - started
        answer = tagger.output
        output = None if answer is None else pack_output(answer, sentences[number])
        yield Prediction(list(spans), seconds, output)
        started = perf_counter()


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


def _notes(
    name: str, gold: Gold, labels: Collection[str], cached: int, misaligned: int
) -> list[str]:
    notes = []
    unknown = sorted(gold.labels - set(labels))
    if unknown:
        notes.append(
            f"{name}: its task does not know {', '.join(unknown)}, found in {gold.path}; "
            f"it finds only {', '.join(labels)}"
        )
    if cached:
        notes.append(
            f"{name}: {cached} of {len(gold.sentences)} sentences and their speed come from an "
            "earlier run; --no-cache measures anew"
        )
    if misaligned:
        notes.append(
            f"{name}: {misaligned} of {len(gold.sentences)} outputs were malformed or changed "
            "their words; entities were aligned where possible"
        )
    return notes


def unique_names(names: Sequence[str]) -> list[str]:
    """The names in order; the second `q4` becomes `q4-2`."""
    unique: list[str] = []
    for name in names:
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


def _bits_per_weight(path: Path) -> float | None:
    return describe(path).bits_per_weight if path.suffix == ".gguf" else None


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
