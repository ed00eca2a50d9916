"""Fit the calibration of a model: a temperature for each route, and the threshold of `auto`."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ner_edge.calibration import Calibration
from ner_edge.eval.calibration import calibration
from ner_edge.eval.gold import Gold
from ner_edge.gguf.metadata import describe
from ner_edge.runtime.tagger import GGUFTagger
from ner_edge.spans import Span

MOST_LOST = 0.05
"""The most F1, in points, that `auto` may lose against writing every sentence."""


class _Counts(NamedTuple):
    """The entities of one sentence: found and right, and found."""

    right: int
    found: int


def fit_calibration(
    model: Path,
    gold: Gold,
    *,
    threads: int | None = None,
    gpu_layers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Calibration:
    """Return the calibration under which the scores of a GGUF are most likely on `gold`.

    The threshold is the lowest at which, and above which, `auto` loses at most `MOST_LOST`; 1 if
    the model has no word head.
    """
    words = [sentence.words for sentence in gold.sentences]
    tagger = GGUFTagger.load(model, decoder="copy", threads=threads, gpu_layers=gpu_layers)
    decoded = []
    with closing(tagger):
        for result in tagger.tag_and_read(words):
            decoded.append(result)
            progress(len(decoded), len(words))
    present = describe(model).calibration
    written = calibration(gold.spans, [result.spans for result in decoded])
    temperature = present.temperature * written.temperature
    read = [(spans, d) for spans, d in zip(gold.spans, decoded, strict=True) if d.reading]
    if not read:
        return Calibration(temperature)
    readings = [d.reading for _, d in read if d.reading]
    of_reading = calibration([spans for spans, _ in read], [r.spans for r in readings])
    threshold = best_threshold(
        [reading.probability for reading in readings],
        [_counts(spans, reading.spans) for (spans, _), reading in zip(read, readings, strict=True)],
        [_counts(spans, d.spans) for spans, d in read],
        sum(len(spans) for spans, _ in read),
    )
    return Calibration(temperature, present.read_temperature * of_reading.temperature, threshold)


def best_threshold(
    probabilities: Sequence[float],
    read: Sequence[_Counts],
    written: Sequence[_Counts],
    gold: int,
) -> float:
    """Return the lowest threshold at which, and above which, F1 is at most `MOST_LOST` below that
    of writing every sentence; `gold` is the number of gold entities."""
    order = np.argsort(-np.array(probabilities), kind="stable")
    read_counts, written_counts = np.array(read)[order], np.array(written)[order]
    # Row k: the k most probable sentences are read, the others written.
    gained = np.concatenate([[[0, 0]], (read_counts - written_counts).cumsum(axis=0)])
    right, found = (written_counts.sum(axis=0) + gained).T
    f1 = 200 * right / np.maximum(found + gold, 1)
    too_low = f1 < f1[0] - MOST_LOST
    unwritten = int(too_low.argmax()) - 1 if too_low.any() else len(order)
    return float(probabilities[order[unwritten]]) if unwritten < len(order) else 0.0


def _counts(gold: Sequence[Span], found: Sequence[tuple[int, int, str, float]]) -> _Counts:
    known = set(gold)
    return _Counts(sum(Span(*span[:3]) in known for span in found), len(found))
