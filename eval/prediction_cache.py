"""Predictions kept on disk as they are made, so that a killed evaluation resumes where it was."""

import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ner_edge.errors import NerEdgeError, NerEdgeWarning
from ner_edge.eval.answers import Output
from ner_edge.files.atomic import atomic_path
from ner_edge.files.hashing import sha256_of as file_sha256
from ner_edge.spans import ScoredSpan

BLOCK = 250
"""Sentences that are tagged together. A decision may depend on what shares its batch, so a run that
goes on where another was killed begins a whole block, and then decides as an unbroken run does."""

Measured = TypeVar("Measured")


class Prediction(NamedTuple):
    """One sentence's entities, what they cost, and the answer they were read from."""

    spans: list[ScoredSpan]
    seconds: float
    output: Output | None = None
    """None where it is the sentence with the entities in brackets, as a decoder made sure."""
    timed_on: str | None = None
    """The machine and the hardware of it that `seconds` were measured on."""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's files with their names, in hexadecimal."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listing = "".join(f"{file.relative_to(path)} {sha256_of(file)}\n" for file in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    return file_sha256(path)


@contextmanager
def prediction_cache(
    folder: Path | None, key: Mapping[str, str], wanted: int
) -> Iterator[tuple[list[Prediction], Callable[[Prediction], None]]]:
    """The predictions already made under `key`, for the first sentences of the data in order,
    and a function that appends the next one. Without a folder nothing is read or kept; where none
    can be kept, a warning says so once. Of fewer than `wanted` only whole blocks count.

    `key` must name everything that decides a prediction. The file holds one JSON line per
    sentence with its number and word offsets; of its text never more than the words that an
    unconstrained answer changed or added. A torn last line, or lines of two
    processes that wrote at once, are dropped from the first that does not fit.
    """
    if folder is None:
        yield [], lambda prediction: None
        return
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:32]
    path = folder / f"{name}.jsonl"
    done, sizes = _read(path)
    if len(done) < wanted:
        del done[len(done) - len(done) % BLOCK :]
    number, size = len(done), sum(sizes[: len(done)])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab", buffering=0)
    except OSError as error:
        _warn_not_kept(folder, _reason(error))
        yield done, lambda prediction: None
        return
    with stream:
        stream.truncate(size)
        keeps = True

        def append(prediction: Prediction) -> None:
            nonlocal keeps, number, size
            if not keeps:
                return
            line = {"sentence": number, **prediction._asdict()}
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            try:
                if stream.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                keeps = False
                stream.truncate(size)
                _warn_not_kept(folder, _reason(error))
                return
            number += 1
            size += len(data)

        yield done, append


def _read(path: Path) -> tuple[list[Prediction], list[int]]:
    """The predictions of all lines that fit, and how many bytes each line takes."""
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


def measured_once(
    folder: Path | None, kind: type[Measured], key: Any, measure: Callable[[], Measured | None]
) -> Measured | None:
    """What an earlier call kept in `folder` under `key`, which must name everything that decides
    it, else what `measure` gives. `kind` is a dataclass of numbers. None is not kept."""
    if folder is None:
        return measure()
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
    path = folder / f"{name}.{kind.__name__.lower()}.json"
    try:
        return kind(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    found = measure()
    if found is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as partial:
                partial.write_text(json.dumps(asdict(found)), encoding="utf-8")  # type: ignore[call-overload]
        except (OSError, NerEdgeError) as error:
            _warn_not_kept(folder, _reason(error))
    return found


def _reason(error: Exception) -> str:
    """The operating system's words, without the file's name."""
    cause = error.__cause__ or error
    return str(cause.strerror if isinstance(cause, OSError) else cause)


@cache  # said once
def _warn_not_kept(folder: Path, reason: str) -> None:
    """No error, since all that is lost is that another run measures anew."""
    warnings.warn(
        f"{folder}: predictions cannot be kept ({reason}), so that a killed run would begin anew; "
        "set NER_EDGE_CACHE to another folder, or use --no-cache",
        NerEdgeWarning,
        stacklevel=2,
    )
