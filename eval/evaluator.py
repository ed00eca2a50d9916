"""Evaluate models one at a time: their predictions, scores, memory and speed."""

import platform
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from ner_edge.errors import DataError, ModelError, UsageError
from ner_edge.eval.agreement import BaselineDecisions
from ner_edge.eval.calibration import calibration
from ner_edge.eval.candidate import Candidate, Tagger
from ner_edge.eval.comparison import Comparison, compare_results, find_baseline, unique_names
from ner_edge.eval.cost import Cost, measured_cost
from ner_edge.eval.gold import Gold
from ner_edge.eval.metrics import require_libraries, score_spans
from ner_edge.eval.predict import Progress, predict
from ner_edge.eval.result import ModelResult
from ner_edge.eval.unconstrained import judge_outputs
from ner_edge.gguf.metadata import describe
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.runtime.word_tagger import Decoder
from ner_edge.spans import Span


@dataclass(frozen=True)
class Evaluator:
    """Evaluates models under the same settings."""

    decoder: Decoder | None = None
    """None means `auto`, or `copy` for a model without a word head."""
    depth: int | None = None
    """The layers that the decoder `read` evaluates; None means all."""
    threads: int | None = None
    """None means the number of physical cores."""
    gpu_layers: int | None = None
    """None means all layers, if llama.cpp was built for a GPU."""
    measure_cost: bool = True
    """Also measure the peak memory and the prompt speed of GGUF files."""
    cache_dir: Path | None = None
    """Where predictions and figures are kept for later runs; None keeps nothing."""
    progress: Progress = lambda name, done, total: None

    def gguf(self, name: str, path: Path) -> Candidate:
        """Return a GGUF file as a candidate, to be loaded with these settings."""

        def load() -> GGUFTagger:
            return GGUFTagger.load(
                path,
                decoder=self.decoder,
                depth=self.depth,
                threads=self.threads,
                gpu_layers=self.gpu_layers,
            )

        return Candidate(name, path, load, is_gguf=True)

    def compare(
        self, candidates: Sequence[Candidate], gold: Gold, baseline: str | None = None
    ) -> Comparison:
        """Evaluate all candidates and compare them with the one whose name or path is `baseline`,
        by default the first.

        Repeated names are numbered. Raises `UsageError` or `ModelError` before any model is loaded
        if there is no candidate, no such baseline or no such file; `DataError` if a model's labels
        are not the gold's.
        """
        require_libraries()
        if not candidates:
            raise UsageError("evaluation needs at least one model")
        missing = [str(c.path) for c in candidates if not c.path.exists()]
        if missing:
            raise ModelError(f"no such model: {', '.join(missing)}")
        names = unique_names([c.name for c in candidates])
        candidates = [replace(c, name=name) for c, name in zip(candidates, names, strict=True)]
        reference = find_baseline(baseline, [(c.name, c.path) for c in candidates])
        results = [self._evaluate(candidate, gold) for candidate in candidates]
        ggufs = {c.name for c in candidates if c.is_gguf}
        results = self._with_agreement(results, gold, reference, ggufs)
        return compare_results(results, gold, reference)

    def _evaluate(self, candidate: Candidate, gold: Gold) -> ModelResult:
        with closing(candidate.load()) as tagger:
            _check_labels(candidate.name, tagger, gold)
            result = self._tag_and_score(tagger, candidate, gold)
        return replace(result, cost=self._cost(candidate, gold))

    def _tag_and_score(self, tagger: Tagger, candidate: Candidate, gold: Gold) -> ModelResult:
        timed_on = f"{platform.node()}: {tagger.hardware}"
        predictions, cached = predict(
            tagger,
            candidate,
            gold,
            timed_on=timed_on,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        scored = [prediction.spans for prediction in predictions]
        spans = [[Span(*span[:3]) for span in found] for found in scored]
        outputs = [p.output for p in predictions if p.output is not None]
        faults = judge_outputs(gold.sentences, outputs, tagger.task.labels) if outputs else None
        timed_here = all(prediction.timed_on == timed_on for prediction in predictions)
        result = ModelResult(
            name=candidate.name,
            path=candidate.path,
            metrics=score_spans(gold.spans, spans, gold.lengths),
            predictions=spans,
            notes=[],
            calibration=None if faults else calibration(gold.spans, scored),
            decoder=tagger.decoder,
            hardware=tagger.hardware,
            seconds=sum(p.seconds for p in predictions) if timed_here else None,
            size_bytes=candidate.size_bytes or _size(candidate.path),
            bits_per_weight=candidate.bits_per_weight or _bits_per_weight(candidate),
            faults=faults,
        )
        return replace(result, notes=_notes(result, gold, list(tagger.task.labels), cached))

    def _cost(self, candidate: Candidate, gold: Gold) -> Cost | None:
        if not (self.measure_cost and candidate.is_gguf):
            return None
        return measured_cost(
            candidate.path,
            gold,
            decoder=self.decoder,
            depth=self.depth,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
            cache_dir=self.cache_dir,
        )

    def _with_agreement(
        self, results: list[ModelResult], gold: Gold, baseline: str, ggufs: set[str]
    ) -> list[ModelResult]:
        if baseline not in ggufs:
            return results
        reference = next(result for result in results if result.name == baseline)
        decisions = BaselineDecisions(
            reference.path,
            gold,
            reference.predictions,
            threads=self.threads,
            gpu_layers=self.gpu_layers,
            cache_dir=self.cache_dir,
        )
        return [
            replace(result, agreement=decisions.agreement(result.path))
            if result.name in ggufs - {baseline}
            else result
            for result in results
        ]


def _check_labels(name: str, tagger: Tagger, gold: Gold) -> None:
    labels = tagger.task.labels
    if gold.labels and gold.labels.isdisjoint(labels):
        raise DataError(
            f"{name}: its task's labels are {', '.join(labels)}, none of those in "
            f"{gold.path} ({', '.join(sorted(gold.labels))})"
        )


def _notes(result: ModelResult, gold: Gold, labels: Sequence[str], cached: int) -> list[str]:
    name, sentences = result.name, len(gold.sentences)
    notes = []
    if unknown := sorted(gold.labels.difference(labels)):
        notes.append(
            f"{name}: {gold.path} has entities labelled {', '.join(unknown)}, which the model's "
            f"task does not have; its labels are {', '.join(labels)}"
        )
    if cached and result.seconds is not None:
        notes.append(
            f"{name}: {cached} of {sentences} predictions and their timing are from an earlier "
            "run; --no-cache measures again"
        )
    elif cached:
        notes.append(
            f"{name}: {cached} of {sentences} predictions are from an earlier run on other "
            "hardware, so the speed is unknown; --no-cache measures it"
        )
    if result.misaligned:
        notes.append(
            f"{name}: {result.misaligned} of {sentences} outputs are malformed or change the "
            "sentence's words; their entities were aligned where possible"
        )
    return notes


def _bits_per_weight(candidate: Candidate) -> float | None:
    return describe(candidate.path).bits_per_weight if candidate.is_gguf else None


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
