"""Fit the calibration of a model: a temperature for each route, and the threshold of `auto`."""

from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from ner_edge.calibration import Calibration
from ner_edge.eval.calibration import calibration
from ner_edge.eval.gold import Gold
from ner_edge.gguf.metadata import describe
from ner_edge.runtime.decoded import Decoded
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.spans import ScoredSpan, Span, strict_f1
from ner_edge.word_head import Reading

MOST_LOST = 0.05
"""The most F1, in points, that `auto` may lose against the best threshold."""

_THRESHOLDS = 1 / (1 + np.exp(-np.linspace(0, 10, 101)))  # from 0.5, evenly in log-odds


class Read(NamedTuple):
    """The gold spans of a sentence, what `auto` finds by writing all of it, and its reading."""

    gold: set[Span]
    written: list[Span]
    reading: Reading


def fit_calibration(
    model: Path,
    golds: Sequence[Gold],
    *,
    threads: int | None = None,
    gpu_layers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Return the calibration under which the scores of a GGUF are most likely on all of `golds`.

    The threshold is the lowest at which the mean F1 of the files is at most `MOST_LOST` below that
    of the best one; 1 if the model has no word head.
    """
    sentences = [words for gold in golds for words in (*gold.words(), [])]
    gold_spans = [spans for gold in golds for spans in gold.spans]
    tagger = GGUFTagger.load(model, threads=threads, gpu_layers=gpu_layers)
    decoded: list[Decoded] = []
    with closing(tagger):
        tagger.write_all()
        for words, result in zip(sentences, tagger.tag_and_read(sentences), strict=True):
            if words:  # not between documents
                decoded.append(result)
                progress(len(decoded), len(gold_spans))
    present = describe(model).calibration
    written = calibration(gold_spans, [result.spans for result in decoded])
    temperature = present.temperature * written.temperature
    results = iter(decoded)
    files = [_read(gold, list(islice(results, len(gold.sentences)))) for gold in golds]
    read = [*chain.from_iterable(files)]
    if not read:
        return Calibration(temperature)
    of_reading = calibration([list(r.gold) for r in read], [r.reading.spans for r in read])
    read_temperature = present.read_temperature * of_reading.temperature
    return Calibration(temperature, read_temperature, best_threshold([f for f in files if f]))


def _read(gold: Gold, decoded: Sequence[Decoded]) -> list[Read]:
    return [
        Read(set(expected), _unscored(spans), reading)
        for expected, (spans, reading) in zip(gold.spans, decoded, strict=True)
        if reading
    ]


def best_threshold(files: Sequence[Sequence[Read]]) -> float:
    """Return the lowest of some thresholds at which the mean F1 of the files is at most `MOST_LOST`
    below that of the best one; the lower, the faster."""

    def mean_f1(threshold: float) -> float:
        return fmean(
            strict_f1([one.gold for one in file], [auto_result(one, threshold) for one in file])
            for file in files
        )

    scores = {threshold: mean_f1(threshold) for threshold in (*_THRESHOLDS.tolist(), 1.0)}
    least = max(scores.values()) - MOST_LOST
    best: float = min(threshold for threshold, f1 in scores.items() if f1 >= least)
    return round(best, 6)


def auto_result(sentence: Read, threshold: float) -> list[Span]:
    """Return what the decoder `auto` finds: writing is greedy, so its beginning stays the same."""
    ends = sentence.reading.ends(threshold)
    read = _unscored(sentence.reading.spans)
    if ends is None:
        return read
    inside = {i for span in sentence.written for i in range(span.start + 1, span.end)}
    end = min(ends - inside)
    before = [span for span in sentence.written if span.end <= end]
    return before + [span for span in read if span.start >= end]


def _unscored(spans: Sequence[ScoredSpan]) -> list[Span]:
    return [Span(*span[:3]) for span in spans]
