"""The manifest beside a model file: its metadata, its provenance, and the checks it passed.

With it, anyone who receives the model can check that it is the file that was exported. The manifest
is removed before its model is replaced, and the new one is written afterwards, so that it never
describes another file.
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
from ner_edge.gguf.metadata import ModelMetadata

_TOOLS = ("ner-edge", "llama-cpp-python", "gguf", "numpy")

Provenance = Mapping[str, str | Mapping[str, str | float]]
"""Base, adapter, importance matrix and recipe of a file, by name and SHA-256."""


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check of a model file, with a figure or the reason."""

    name: str
    ok: bool | None
    """None if the check could not be made."""
    detail: str

    def __str__(self) -> str:
        mark = {True: "✓", False: "✗", None: "–"}[self.ok]
        return f"{mark} {self.name}: {self.detail}"


class FileRecord(msgspec.Struct, frozen=True):
    """The metadata of a model file that its manifest repeats."""

    file: str
    bytes: int
    architecture: str
    parameters: int
    quantization: str
    bits_per_weight: float
    tensor_types: dict[str, int]
    task: str | None
    reading: str = "causal"

    @classmethod
    def of(cls, metadata: ModelMetadata) -> "FileRecord":
        """Make the record of a file from the metadata read from it."""
        return cls(
            name_as_text(metadata.path),
            metadata.size_bytes,
            metadata.architecture,
            metadata.parameters,
            metadata.quant,
            round(metadata.bits_per_weight, 4),
            metadata.tensor_types,
            metadata.task.name if metadata.task else None,
            metadata.reading,
        )


@dataclass(frozen=True)
class Manifest:
    """The manifest of one model file."""

    record: FileRecord
    sha256: str
    provenance: Provenance
    checks: list[CheckResult]

    def contradictions(self, metadata: ModelMetadata) -> list[str]:
        """List the entries that the file's own metadata contradicts, like `bytes 5, not 4`."""
        claimed = msgspec.structs.asdict(self.record)
        actual = msgspec.structs.asdict(FileRecord.of(metadata))
        return [
            f"{key} {claimed[key]}, not {actual[key]}"
            for key in actual
            if claimed[key] != actual[key]
        ]

    def to_json(self) -> str:
        """Return the text of the manifest file."""
        record = msgspec.structs.asdict(self.record)
        manifest = {
            "file": record.pop("file"),
            "sha256": self.sha256,
            **record,
            "made_of": self.provenance,
            "tools": {name: version(name) for name in _TOOLS},
            "checks": {c.name: {"passed": c.ok, "detail": c.detail} for c in self.checks},
        }
        return json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"


def manifest_path(model: Path) -> Path:
    """Return the path of a model's manifest: `name.json` for `name.gguf`."""
    return model.with_suffix(".json")


def descriptions(model: Path) -> list[Path]:
    """Return the paths of the files that describe a model, whether they exist or not."""
    return [manifest_path(model), modelfile_path(model)]


class _CheckEntry(msgspec.Struct):
    passed: bool | None
    detail: str


class _ManifestFile(FileRecord, frozen=True, kw_only=True):
    sha256: str
    made_of: Provenance
    checks: dict[str, _CheckEntry]


def read_manifest(model: Path) -> Manifest | None:
    """Read the manifest beside a model; None if there is none. Raises `ModelError` if the file is
    not a manifest."""
    path = manifest_path(model)
    if not path.exists():
        return None
    found = read_json(path, _ManifestFile, "a manifest")
    record = FileRecord(*(getattr(found, name) for name in FileRecord.__struct_fields__))
    checks = [CheckResult(name, c.passed, c.detail) for name, c in found.checks.items()]
    return Manifest(record, found.sha256, found.made_of, checks)
