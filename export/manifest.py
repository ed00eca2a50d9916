"""The manifest beside a model file: what the file was made of, and which checks it passed.

Whoever receives both can tell whether the file is still the one that was made. A manifest is
written after its file and removed before the file is replaced, so that it never speaks of another.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ner_edge.atomic import write_text
from ner_edge.errors import ModelError
from ner_edge.export.modelfile import modelfile_path
from ner_edge.facts import describe

_TOOLS = ("ner-edge", "llama-cpp-python", "gguf", "numpy")


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


@dataclass(frozen=True)
class Manifest:
    """What cannot be read from the model file itself."""

    sha256: str
    made_of: dict[str, Any]
    """Base, adapter, recipe and calibration data, by name and SHA-256."""
    checks: list[Check]


def manifest_path(model: Path) -> Path:
    """Where the manifest of a model lies: `name.gguf` has `name.json`."""
    return model.with_suffix(".json")


def descriptions(model: Path) -> list[Path]:
    """All that speaks of one model file, whether it is there or not."""
    return [manifest_path(model), modelfile_path(model)]


def write_manifest(
    model: Path, sha256: str, made_of: Mapping[str, Any], checks: Sequence[Check]
) -> Path:
    """Write the manifest of a model file, whose SHA-256 is known, and return its path."""
    facts = describe(model)
    record = {
        "file": model.name,
        "sha256": sha256,
        "bytes": facts.size_bytes,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "quantization": facts.quant,
        "bits_per_weight": round(facts.bits_per_weight, 4),
        "tensor_types": facts.tensor_types,
        "task": facts.task.name if facts.task else None,
        "made_of": dict(made_of),
        "tools": {name: version(name) for name in _TOOLS},
        "checks": {check.name: {"passed": check.ok, "detail": check.detail} for check in checks},
    }
    path = manifest_path(model)
    write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", str(path))
    return path


def read_manifest(model: Path) -> Manifest | None:
    """What `write_manifest` wrote beside a model, None if there is nothing. Raises `ModelError` if
    it is anything else."""
    path = manifest_path(model)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        checks = [Check(n, c["passed"], c["detail"]) for n, c in record["checks"].items()]
        if not all(check.ok in (True, False, None) for check in checks):
            raise ValueError("a check neither passed nor failed")
        return Manifest(str(record["sha256"]), dict(record["made_of"]), checks)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ModelError(f"{path.name} is no manifest") from None
