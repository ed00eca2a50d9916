"""Is a model file what it claims to be, and does it work here? The checks, and their record.

The record, a JSON file beside the model, says what the file was made of and what it passed, so that
whoever receives both can tell whether the file is still the one that was made.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ner_edge.atomic import write_text
from ner_edge.facts import ModelFacts, describe
from ner_edge.gguf_file import GGUFFile

_ROWS = 1 << 22  # weights looked at together
_TOOLS = ("ner-edge", "llama-cpp-python", "gguf", "numpy")
_BATTERY = (
    "Ada Lovelace met Charles Babbage in London in 1833 .",
    "naïve Zürich 東京 Москва שלום مرحبا 😀 e\u0301 [ ] | [[ ]] || <|im_end|>",
    "EU rejects German call to boycott British lamb .",
)


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it passed, and the figure or the reason."""

    name: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.name}: {self.detail}"


def manifest_path(model: Path) -> Path:
    """Where the record of a model lies: `name.gguf` has `name.json`."""
    return model.with_suffix(".json")


def verify(
    model: Path,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Check]:
    """Check a GGUF file made by `export`, cheapest check first; the last ones load it.

    Raises `ModelError` if it is no complete GGUF file. `progress` gets tensors read and in all.
    """
    facts = describe(model)
    yield Check("complete", True, f"{facts.size_bytes / 1e6:.1f} MB, {facts.quant}")
    yield _recorded(model)
    yield _finite(GGUFFile(model), progress)
    if facts.task is None:
        yield Check("task", False, "none inside; `ner-edge tag` cannot use the file")
        return
    yield Check("task", True, f"{facts.task.name} ({', '.join(facts.task.labels)})")
    yield from _at_work(model, threads)


def write_manifest(model: Path, checks: list[Check]) -> Path:
    """Write the record of `checks` beside the model and return its path."""
    path = manifest_path(model)
    facts = describe(model)
    record = {
        "file": model.name,
        "sha256": _sha256(model),
        "bytes": facts.size_bytes,
        **_made_of(facts),
        "tools": {name: version(name) for name in _TOOLS},
        "checks": {check.name: check.detail for check in checks if check.ok},
    }
    write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", str(path))
    return path


def _made_of(facts: ModelFacts) -> dict[str, Any]:
    return {
        "architecture": facts.architecture,
        "quantization": facts.quant,
        "bits_per_weight": round(facts.bits_per_weight, 4),
        "tensor_types": facts.tensor_types,
        "task": facts.task.name if facts.task else None,
        "made_of": facts.provenance,
    }


def _recorded(model: Path) -> Check:
    """Is it the very file of its record?"""
    path = manifest_path(model)
    digest = _sha256(model)
    if not path.is_file():
        return Check("sha256", True, f"{digest} (no {path.name} to compare with)")
    try:
        recorded = json.loads(path.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return Check("sha256", False, f"{digest}, but {path.name} is no record of it")
    if recorded != digest:
        return Check("sha256", False, f"{digest}, but {path.name} has {recorded}")
    return Check("sha256", True, f"{digest}, as in {path.name}")


def _finite(file: GGUFFile, progress: Callable[[int, int], None]) -> Check:
    for done, (name, info) in enumerate(file.tensors.items(), 1):
        rows = prod(info.shape[:-1])
        step = max(1, _ROWS // info.shape[-1])
        for start in range(0, rows, step):
            if not np.isfinite(file.rows(name, start, min(start + step, rows))).all():
                return Check("finite", False, f"{name} holds numbers that are not")
        progress(done, len(file.tensors))
    return Check("finite", True, f"all weights of {len(file.tensors)} tensors")


def _at_work(model: Path, threads: int | None) -> Iterator[Check]:
    from ner_edge.runtime.tagger import Tagger

    with Tagger.load(model, threads=threads) as tagger:
        lost = [text for text in _BATTERY if tagger.round_trip(text) != text]
        yield Check(
            "tokenizer",
            not lost,
            f"changes {lost[0]!r}" if lost else f"{len(_BATTERY)} texts come back as they were",
        )
        found = sum(map(len, tagger.tag_words(text.split(" ") for text in _BATTERY)))
        yield Check("tags", True, f"{found} entities in {len(_BATTERY)} texts")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
