"""The manifest beside a model file: what the file was made of, and which checks it passed.

Whoever receives both can tell whether the file is still the one that was made. A manifest is
written after its file and removed before the file is replaced, so that it never speaks of another.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from ner_edge.export.describe.modelfile import modelfile_path
from ner_edge.files.inputs import name_as_text
from ner_edge.files.typed import read_json
from ner_edge.gguf.metadata import ModelFacts

_TOOLS = ("ner-edge", "llama-cpp-python", "gguf", "numpy")

MadeOf = Mapping[str, str | Mapping[str, str | float]]
"""Base, adapter, recipe and calibration data, by name and SHA-256."""


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it passed, and the figure or the reason."""

    name: str
    ok: bool | None
    """None if it could not be made, for the reason given."""
    detail: str

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "–"}[self.ok]
        return f"{mark} {self.name}: {self.detail}"


class FileFacts(msgspec.Struct, frozen=True):
    """What a manifest repeats of what can be read from its model file."""

    file: str
    bytes: int
    architecture: str
    parameters: int
    quantization: str
    bits_per_weight: float
    tensor_types: dict[str, int]
    task: str | None

    @classmethod
    def of(cls, facts: ModelFacts) -> "FileFacts":
        """Those of the file that `facts` describe."""
        return cls(
            name_as_text(facts.path),
            facts.size_bytes,
            facts.architecture,
            facts.parameters,
            facts.quant,
            round(facts.bits_per_weight, 4),
            facts.tensor_types,
            facts.task.name if facts.task else None,
        )


@dataclass(frozen=True)
class Manifest:
    """The record of one model file."""

    facts: FileFacts
    sha256: str
    made_of: MadeOf
    checks: list[Check]

    def contradictions(self, facts: ModelFacts) -> list[str]:
        """What it says otherwise than the file that `facts` describe, like `bytes 5, not 4`."""
        said, true = msgspec.structs.asdict(self.facts), msgspec.structs.asdict(FileFacts.of(facts))
        return [f"{key} {said[key]}, not {true[key]}" for key in true if said[key] != true[key]]

    def to_json(self) -> str:
        """As it is written beside the file."""
        facts = msgspec.structs.asdict(self.facts)
        record = {
            "file": facts.pop("file"),
            "sha256": self.sha256,
            **facts,
            "made_of": self.made_of,
            "tools": {name: version(name) for name in _TOOLS},
            "checks": {c.name: {"passed": c.ok, "detail": c.detail} for c in self.checks},
        }
        return json.dumps(record, ensure_ascii=False, indent=2) + "\n"


def manifest_path(model: Path) -> Path:
    """Where the manifest of a model lies: `name.gguf` has `name.json`."""
    return model.with_suffix(".json")


def descriptions(model: Path) -> list[Path]:
    """The paths of the files that describe a model; they may not exist."""
    return [manifest_path(model), modelfile_path(model)]


class _CheckRecord(msgspec.Struct):
    passed: bool | None
    detail: str


class _Record(FileFacts, frozen=True):
    sha256: str
    made_of: MadeOf
    checks: dict[str, _CheckRecord]


def read_manifest(model: Path) -> Manifest | None:
    """What was written beside a model, None if there is nothing. Raises `ModelError` if
    it is anything else."""
    path = manifest_path(model)
    if not path.exists():
        return None
    record = read_json(path, _Record, "a manifest")
    facts = FileFacts(*(getattr(record, name) for name in FileFacts.__struct_fields__))
    checks = [Check(name, c.passed, c.detail) for name, c in record.checks.items()]
    return Manifest(facts, record.sha256, record.made_of, checks)
