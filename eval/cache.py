"""Predictions kept on disk as they are made, so that a killed evaluation resumes where it was."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ner_edge.atomic import atomic_path
from ner_edge.errors import NerEdgeError
from ner_edge.eval.outputs import Output
from ner_edge.hashing import sha256_of as file_sha256
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
    and a function that appends the next one. Without a folder nothing is read or kept. Of fewer
    than `wanted` only whole blocks count.

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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab+")
    except OSError as error:
        raise _unusable(path, error) from error
    with stream:
        done, sizes = _read(path)
        if len(done) < wanted:
            del done[len(done) - len(done) % BLOCK :]
        stream.truncate(sum(sizes[: len(done)]))
        number = len(done)

        def append(prediction: Prediction) -> None:
            nonlocal number
            line = {"sentence": number, **prediction._asdict()}
            try:
                stream.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
                stream.flush()
            except OSError as error:
                raise _unusable(path, error) from error
            number += 1

        yield done, append


def _read(path: Path) -> tuple[list[Prediction], list[int]]:
    """The predictions of all lines that fit, and how many bytes each line takes."""
    done: list[Prediction] = []
    sizes = []
    for line in path.read_bytes().splitlines(keepends=True):
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
        except OSError as error:
            raise _unusable(path, error) from error
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(asdict(found)), encoding="utf-8")  # type: ignore[call-overload]
    return found


def _unusable(path: Path, error: OSError) -> NerEdgeError:
    return NerEdgeError(f"{path}: predictions cannot be kept ({error.strerror}); or use --no-cache")
