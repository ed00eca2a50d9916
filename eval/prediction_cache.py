"""Predictions kept on disk as they are made, so that a killed evaluation resumes."""

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ner_edge.errors import NerEdgeWarning
from ner_edge.eval.unconstrained import PackedOutput
from ner_edge.spans import ScoredSpan


class Prediction(NamedTuple):
    """The entities of one sentence, and the seconds spent on them."""

    spans: list[ScoredSpan]
    seconds: float
    output: PackedOutput | None = None
    """The raw output; None for a constrained decoder."""
    timed_on: str | None = None
    """The machine and the hardware the timing was taken on."""


@contextmanager
def prediction_cache(
    folder: Path | None, key: Mapping[str, str], blocks: Sequence[int]
) -> Iterator[tuple[list[Prediction], Callable[[Prediction], None]]]:
    """Yield the predictions kept under `key`, for the first sentences of the data in order, and a
    function that appends the next one.

    `key` must contain everything a prediction depends on. Sentences are tagged in `blocks`, given
    by the index after each; of a run that did not end, only whole blocks count. Without a folder,
    nothing is read or kept; if it cannot be written, one warning says so. The file holds one JSON
    line per sentence: its number and word offsets, and of its text only the words that an
    unconstrained output changed or added. Lines from the first unusable one on (torn, or written by
    two processes at once) are dropped.
    """
    if folder is None:
        yield [], lambda prediction: None
        return
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"{name}.jsonl"
    done, sizes = _read(path)
    if len(done) < blocks[-1]:
        del done[max((end for end in blocks if end <= len(done)), default=0) :]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab", buffering=0)
    except OSError as error:
        warn_not_kept(folder, error)
        yield done, lambda prediction: None
        return
    with stream:
        yield done, _Appender(folder, stream, len(done), sum(sizes[: len(done)])).append


class _Appender:
    """Writes predictions after the first `number`, which take `size` bytes, until a write fails."""

    def __init__(self, folder: Path, stream: BinaryIO, number: int, size: int) -> None:
        self._folder, self._stream = folder, stream
        self._number, self._size = number, size
        self._failed = False
        stream.truncate(size)

    def append(self, prediction: Prediction) -> None:
        if self._failed:
            return
        line = {"sentence": self._number, **prediction._asdict()}
        data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        try:
            if self._stream.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failed = True
            self._stream.truncate(self._size)
            warn_not_kept(self._folder, error)
            return
        self._number += 1
        self._size += len(data)


def _read(path: Path) -> tuple[list[Prediction], list[int]]:
    """Return the predictions up to the first unusable line, and the bytes each line takes."""
    done: list[Prediction] = []
    sizes: list[int] = []
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError:
        return done, sizes
    for line in lines:
        try:
            record = json.loads(line)
            if record["sentence"] != len(done) or not line.endswith(b"\n"):
                break
            spans = [ScoredSpan(*span) for span in record["spans"]]
            output = record.get("output")
            if output is not None and not all(isinstance(chunk, int | str) for chunk in output):
                break
            done.append(Prediction(spans, record["seconds"], output, record.get("timed_on")))
        except (ValueError, TypeError, KeyError):
            break
        sizes.append(len(line))
    return done, sizes


def warn_not_kept(folder: Path, error: Exception) -> None:
    """Warn, once per folder and reason, that a killed run cannot resume."""
    cause = error.__cause__ or error
    _warn_once(folder, str(cause.strerror if isinstance(cause, OSError) else cause))


@cache
def _warn_once(folder: Path, reason: str) -> None:
    warnings.warn(
        f"{folder}: predictions cannot be kept ({reason}), so a killed run would start over; "
        "set NER_EDGE_CACHE to another folder, or use --no-cache",
        NerEdgeWarning,
        stacklevel=2,
    )
