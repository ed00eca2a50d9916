"""One model's predictions for the gold sentences, resumed where a killed run stopped."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter

from ner_edge.errors import ModelError
from ner_edge.eval.candidate import Candidate, Tagger
from ner_edge.eval.gold import Gold
from ner_edge.eval.prediction_cache import Prediction, prediction_cache
from ner_edge.eval.unconstrained import pack_output
from ner_edge.files.hashing import sha256_of

BLOCK = 250
"""The least number of sentences tagged together."""

Progress = Callable[[str, int, int], None]
"""Called with the model's name, the number of sentences done, and the number of all sentences."""


def predict(
    tagger: Tagger,
    candidate: Candidate,
    gold: Gold,
    *,
    timed_on: str,
    cache_dir: Path | None,
    progress: Progress,
) -> tuple[list[Prediction], int]:
    """Return one prediction per sentence, and how many of them come from `cache_dir`.

    Raises `ModelError` if the model skips a sentence.
    """
    sentences = gold.sentences
    key = {} if cache_dir is None else _cache_key(tagger, candidate, gold)
    blocks = list(_blocks(gold))
    with prediction_cache(cache_dir, key, blocks) as (done, keep):
        predictions = done[: len(sentences)]
        cached = len(predictions)
        for start, end in pairwise([cached, *(end for end in blocks if end > cached)]):
            block = list(gold.words(start, end))
            for prediction in _tag(tagger, block, timed_on):
                keep(prediction)
                predictions.append(prediction)
                progress(candidate.name, len(predictions), len(sentences))
    if len(predictions) != len(sentences):
        raise ModelError(
            f"{candidate.path}: gave {len(predictions)} answers to {len(sentences)} sentences"
        )
    return predictions, cached


def _blocks(gold: Gold) -> Iterator[int]:
    """Yield the end of each block of whole documents.

    A decision may depend on the other sentences of its document and of its batch, so a resumed run
    starts with a whole block and then decides as an unbroken run does.
    """
    start = 0
    for end in sorted(gold.opening):
        if end - start >= BLOCK:
            yield end
            start = end
    yield len(gold.sentences)


def _tag(tagger: Tagger, sentences: Sequence[list[str]], timed_on: str) -> Iterator[Prediction]:
    answers = tagger.tag_words(sentences)
    started = perf_counter()  # again after each yield: the caller's own time does not count
    for words, spans in zip(sentences, answers, strict=False):  # too few are found later
        if not words:  # between two documents
            continue
        seconds = perf_counter() - started
        output = None if tagger.output is None else pack_output(tagger.output, words)
        yield Prediction(list(spans), seconds, output, timed_on)
        started = perf_counter()


def _cache_key(tagger: Tagger, candidate: Candidate, gold: Gold) -> dict[str, str]:
    key = {
        "model": _content_hash(candidate.path),
        "data": gold.sha256,
        "task": tagger.task.to_json(),
        "decoder": tagger.decoder,
        "version": tagger.version,
        "blocks": f"documents, {BLOCK} sentences",
    }
    if candidate.base is not None:
        key["base"] = _content_hash(candidate.base)
    return key


def _content_hash(path: Path) -> str:
    if path.is_file():
        return sha256_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listing = "".join(f"{file.relative_to(path)} {sha256_of(file)}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()
