"""The metadata of a GGUF file, read without its weights."""

import json
from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf import LlamaFileType

from ner_edge.architectures import BY_NAME
from ner_edge.calibration import KEYS, Calibration
from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.word_head import read_word_head
from ner_edge.task import GGUF_KEY, Task
from ner_edge.training_record import ATTRIBUTION_KEY, union
from ner_edge.word_head import WordHead

_PROVENANCE = {
    "ner-edge": "ner_edge.version",
    "base": "ner_edge.base_sha256",
    "adapter": "ner_edge.adapter_sha256",
    "imatrix from": "ner_edge.calibrated_on",
}


@dataclass(frozen=True)
class ModelMetadata:
    """The metadata of a GGUF file. `bits_per_weight` is the average over its tensors as stored."""

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
    calibration: Calibration
    word_head: WordHead | None
    """Of a model that reads both ways."""
    attribution: list[str]
    """The credits that licences of the training data ask for."""
    provenance: dict[str, str]
    """Of files made by ner-edge: `ner-edge` (version), `base` and `adapter` (SHA-256)."""

    def rows(self) -> list[tuple[str, str]]:
        """Return everything as pairs of a name and a text."""
        types = ", ".join(f"{count} {kind}" for kind, count in self.tensor_types.items())
        rows = [
            ("file", str(self.path)),
            ("name", self.name),
            ("architecture", self.architecture),
            *self._licence(),
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
        rows.append(("reading", self.reading))
        if self.word_head:
            depths = ", ".join(map(str, sorted(self.word_head.layers)))
            rows.append(("word head", f"after layers {depths}"))
            if self.word_head.passage:
                rows.append(("passages", f"up to {self.word_head.passage} words"))
        rows += [("training data", credit) for credit in self.attribution]
        return rows + self._calibration() + list(self.provenance.items())

    def _calibration(self) -> list[tuple[str, str]]:
        fitted = self.calibration
        temperature = f"{fitted.temperature:g}"
        if self.word_head:
            temperature += f" for written entities, {fitted.read_temperature:g} for others"
        rows = [("temperature", temperature)] * (fitted != Calibration())
        if self.word_head:
            rows.append(
                ("in doubt", f"words with a tag of probability {fitted.threshold:g} or less")
            )
        return rows

    @property
    def reading(self) -> str:
        """`both` if sentences are read in both directions, else `causal`."""
        return "both" if self.word_head else "causal"

    def _licence(self) -> list[tuple[str, str]]:
        row = BY_NAME.get(self.architecture)
        return [("licence", str(row.licence))] if row and row.licence else []


def describe(path: Path) -> ModelMetadata:
    """Read a model's metadata; takes milliseconds.

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
    task = None if task_text is None else Task.from_json(task_text, str(path))
    calibrated = {key: text for key in KEYS if (text := file.text(key)) is not None}
    return ModelMetadata(
        path=path,
        architecture=architecture,
        name=file.text("general.name") or path.stem,
        quant=file.text("ner_edge.recipe") or file_type_name(file.integer("general.file_type")),
        size_bytes=file.size_bytes,
        parameters=parameters,
        bits_per_weight=tensor_bits / parameters if parameters else 0.0,
        tensor_types=dict(types.most_common()),
        calibration=Calibration.from_metadata(calibrated, str(path)),
        word_head=read_word_head(file, task) if task else None,
        attribution=union([(file.text(ATTRIBUTION_KEY) or "").split("\n")]),
        provenance={name: text for name, key in _PROVENANCE.items() if (text := file.text(key))},
        task=task,
    )


def file_type_name(file_type: int | None) -> str:
    """Return the quantization type with this llama.cpp file type number, or `unknown`."""
    if file_type is None:
        return "unknown"
    try:
        return LlamaFileType(file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_").lower()
    except ValueError:
        return "unknown"
