"""What a GGUF file says about itself, read without loading it."""

import json
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf import LlamaFileType

from ner_edge import temperature
from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.task import GGUF_KEY, Task

_PROVENANCE = {
    "ner-edge": "ner_edge.version",
    "base": "ner_edge.base_sha256",
    "adapter": "ner_edge.adapter_sha256",
    "calibrated on": "ner_edge.calibrated_on",
}


@dataclass(frozen=True)
class ModelFacts:
    """A GGUF file's description. `bits_per_weight` counts tensor data only, as achieved."""

    path: Path
    architecture: str
    name: str
    quant: str
    size_bytes: int
    parameters: int
    bits_per_weight: float
    tensor_types: dict[str, int]
    """How many tensors have each ggml type, most frequent first: `{"Q4_K": 120, "F32": 61}`."""
    task: Task | None
    temperature: float
    """What the log-odds of its scores are divided by; 1 if it was never fitted."""
    provenance: dict[str, str]
    """What it was made of, if by ner-edge: `ner-edge` (version), `base` and `adapter` (SHA-256)."""

    def rows(self) -> list[tuple[str, str]]:
        """All of it for a reader: name and value."""
        types = ", ".join(f"{count} {kind}" for kind, count in self.tensor_types.items())
        rows = [
            ("file", str(self.path)),
            ("name", self.name),
            ("architecture", self.architecture),
            ("parameters", f"{self.parameters / 1e6:.1f} million"),
            ("quantization", f"{self.quant}, {self.bits_per_weight:.2f} bits per weight"),
            ("tensors", types),
            ("size", f"{self.size_bytes / 1e6:.1f} MB"),
        ]
        if self.task is None:
            rows.append(("task", "none"))
        else:
            labels = (f"{label} ({meaning})" for label, meaning in self.task.labels.items())
            rows += [
                ("task", self.task.name),
                ("labels", ", ".join(labels)),
                (
                    "prompt",
                    json.dumps(f"{self.task.prefix}…{self.task.suffix}", ensure_ascii=False),
                ),
            ]
        if self.temperature != 1.0:
            rows.append(("temperature", f"{self.temperature:g}"))
        return rows + list(self.provenance.items())


def describe(path: Path) -> ModelFacts:
    """Read a model's facts; takes milliseconds.

    Raises `ModelError` if the file is not a complete GGUF or the task in it is damaged.
    """
    file = GGUFFile(path)
    architecture = file.text("general.architecture")
    if architecture is None:
        raise ModelError(f"{path}: names no architecture")
    parameters = sum(prod(tensor.shape) for tensor in file.tensors.values())
    tensor_bits = 8 * sum(tensor.nbytes for tensor in file.tensors.values())
    types = Counter(tensor.type.name for tensor in file.tensors.values())
    task_text = file.text(GGUF_KEY)
    temperature_text = file.text(temperature.GGUF_KEY)
    return ModelFacts(
        path=path,
        architecture=architecture,
        name=file.text("general.name") or path.stem,
        quant=file.text("ner_edge.recipe") or file_type_name(file.integer("general.file_type")),
        size_bytes=file.size_bytes,
        parameters=parameters,
        bits_per_weight=tensor_bits / parameters if parameters else 0.0,
        tensor_types=dict(types.most_common()),
        temperature=(
            1.0
            if temperature_text is None
            else temperature.parse_temperature(temperature_text, str(path))
        ),
        provenance={name: text for name, key in _PROVENANCE.items() if (text := file.text(key))},
        task=None if task_text is None else Task.from_json(task_text, str(path)),
    )


def file_type_name(file_type: int | None) -> str:
    """The level whose llama.cpp file type number this is, `unknown` if there is none."""
    if file_type is None:
        return "unknown"
    try:
        return LlamaFileType(file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_").lower()
    except ValueError:
        return "unknown"
