"""What a GGUF file says about itself, read without loading it."""

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ner_edge.errors import ModelError
from ner_edge.export.gguf_file import GGUFFile
from ner_edge.export.quants import file_type_name
from ner_edge.task import GGUF_KEY, Task


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


def describe(path: Path) -> ModelFacts:
    """Read a model's facts; takes milliseconds.

    Raises `ModelError` if the file is not a complete GGUF or the task in it is damaged.
    """
    file = GGUFFile(path)
    architecture = file.get("general.architecture")
    if not isinstance(architecture, str):
        raise ModelError(f"{path}: names no architecture")
    parameters = sum(prod(tensor.shape) for tensor in file.tensors.values())
    tensor_bits = 8 * sum(tensor.nbytes for tensor in file.tensors.values())
    types = Counter(tensor.type.name for tensor in file.tensors.values())
    task_text = file.get(GGUF_KEY)
    return ModelFacts(
        path=path,
        architecture=architecture,
        name=str(file.get("general.name") or path.stem),
        quant=file_type_name(file.get("general.file_type")),
        size_bytes=file.size_bytes,
        parameters=parameters,
        bits_per_weight=tensor_bits / parameters if parameters else 0.0,
        tensor_types=dict(types.most_common()),
        task=None if task_text is None else Task.from_json(str(task_text), str(path)),
    )
