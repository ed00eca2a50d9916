"""One model on labelled sentences: its predictions, its scores, and how fast it gave them."""

import platform
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Protocol

from ner_edge.errors import DataError, ModelError
from ner_edge.eval.agreement import Agreement
from ner_edge.eval.answers import OutputFaults, judge_outputs, pack_output
from ner_edge.eval.calibration import Calibration, calibration
from ner_edge.eval.cost import Cost
from ner_edge.eval.gold import Gold
from ner_edge.eval.metrics import Metrics, score_spans
from ner_edge.eval.prediction_cache import BLOCK, Prediction, prediction_cache, sha256_of
from ner_edge.gguf.metadata import describe
from ner_edge.spans import ScoredSpan, Span
from ner_edge.task import Task

Progress = Callable[[str, int, int], None]
"""Called with a model's name, the sentences done, and the sentences in all."""


class Tagger(Protocol):
    """What evaluation asks of a loaded model."""

    @property
    def task(self) -> Task:
        """The labels and the prompt it works with."""

    @property
    def decoder(self) -> str:
        """The decoder in use, by its command-line name."""

    @property
    def version(self) -> str:
        """Whatever else beside file and task decides an answer; kept predictions hold for one."""

    @property
    def hardware(self) -> str:
        """What its speed is that of, like `2 threads`."""

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
    """Decoding time, summed over all runs of a resumed evaluation; without loading. None unless all
    of them had this `hardware` and this machine."""
    notes: list[str]
    hardware: str | None = None
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


def evaluate_model(
    tagger: Tagger,
    candidate: Candidate,
    gold: Gold,
    *,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> ModelResult:
    """Tag the gold sentences and score the outcome; continue a cached pass where it ended."""
    labels = list(tagger.task.labels)
    if gold.labels and not gold.labels & set(labels):
        raise DataError(
            f"{candidate.name}: its task knows {', '.join(labels)}, none of the labels in "
            f"{gold.path} ({', '.join(sorted(gold.labels))})"
        )
    here = f"{platform.node()}: {tagger.hardware}"
    predictions, cached = _predictions(tagger, candidate, gold, here, cache_dir, progress)
    scored = [prediction.spans for prediction in predictions]
    spans = [[Span(*span[:3]) for span in found] for found in scored]
    outputs = [prediction.output for prediction in predictions if prediction.output is not None]
    faults = judge_outputs(gold.sentences, outputs, labels) if outputs else None
    timed_here = all(prediction.timed_on == here for prediction in predictions)
    result = ModelResult(
        name=candidate.name,
        path=candidate.path,
        decoder=tagger.decoder,
        metrics=score_spans(gold.spans, spans, gold.lengths),
        predictions=spans,
        calibration=None if faults else calibration(gold.spans, scored),
        size_bytes=candidate.size_bytes or _size(candidate.path),
        bits_per_weight=candidate.bits_per_weight or _bits_per_weight(candidate.path),
        seconds=sum(prediction.seconds for prediction in predictions) if timed_here else None,
        notes=[],
        hardware=tagger.hardware,
        faults=faults,
    )
    return replace(result, notes=_notes(result, gold, labels, cached))


def _predictions(
    tagger: Tagger,
    candidate: Candidate,
    gold: Gold,
    here: str,
    cache_dir: Path | None,
    progress: Progress | None,
) -> tuple[list[Prediction], int]:
    """One for each sentence, and how many of them were kept by an earlier run."""
    key = {}
    if cache_dir is not None:
        key = {
            "model": sha256_of(candidate.path),
            "data": gold.sha256,
            "task": tagger.task.to_json(),
            "decoder": tagger.decoder,
            "version": tagger.version,
        }
        if candidate.base is not None:
            key["base"] = sha256_of(candidate.base)
    with prediction_cache(cache_dir, key, len(gold.sentences)) as (done, keep):
        predictions = done[: len(gold.sentences)]
        cached = len(predictions)
        for start in range(cached, len(gold.sentences), BLOCK):
            block = gold.sentences[start : start + BLOCK]
            for prediction in _tag(tagger, [sentence.words for sentence in block], here):
                keep(prediction)
                predictions.append(prediction)
                if progress:
                    progress(candidate.name, len(predictions), len(gold.sentences))
    if len(predictions) != len(gold.sentences):
        raise ModelError(
            f"{candidate.path}: gave {len(predictions)} answers to {len(gold.sentences)} sentences"
        )
    return predictions, cached


def _tag(tagger: Tagger, sentences: Sequence[list[str]], here: str) -> Iterator[Prediction]:
    """Each sentence's prediction, with the time spent waiting for it and nothing else."""
    answers = tagger.tag_words(sentences)
    started = perf_counter()
    for number, spans in enumerate(answers):
        seconds = perf_counter() - started
        answer = tagger.output
        output = None if answer is None else pack_output(answer, sentences[number])
        yield Prediction(list(spans), seconds, output, here)
        started = perf_counter()


def _notes(result: ModelResult, gold: Gold, labels: Collection[str], cached: int) -> list[str]:
    name = result.name
    notes = []
    unknown = sorted(gold.labels - set(labels))
    if unknown:
        notes.append(
            f"{name}: its task does not know {', '.join(unknown)}, found in {gold.path}; "
            f"it finds only {', '.join(labels)}"
        )
    if cached and result.seconds is not None:
        notes.append(
            f"{name}: {cached} of {len(gold.sentences)} sentences and their speed come from an "
            "earlier run; --no-cache measures anew"
        )
    elif cached:
        notes.append(
            f"{name}: {cached} of {len(gold.sentences)} sentences come from an earlier run with "
            "other threads or on another machine, so its speed is not known; --no-cache measures it"
        )
    if result.misaligned:
        notes.append(
            f"{name}: {result.misaligned} of {len(gold.sentences)} outputs were malformed or "
            "changed their words; entities were aligned where possible"
        )
    return notes


def _bits_per_weight(path: Path) -> float | None:
    return describe(path).bits_per_weight if path.suffix == ".gguf" else None


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
