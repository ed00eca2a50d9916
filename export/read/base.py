"""The model to export, read from a GGUF or a Hugging Face folder one tensor at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGUFValue
from numpy.typing import NDArray

from ner_edge.architectures import Architecture
from ner_edge.gguf.check import check_model
from ner_edge.gguf.file import GGUFFile
from ner_edge.shapes import Hyperparameters


class Tensor(NamedTuple):
    """A tensor under its GGUF name, in GGUF's row order.

    `read_slice(start, end)` reads that part of its first axis into a fresh float32 array.
    """

    name: str
    shape: tuple[int, ...]
    read_slice: Callable[[int, int], NDArray[np.float32]]

    def read(self) -> NDArray[np.float32]:
        """Read the whole tensor."""
        return self.read_slice(0, self.shape[0])


@dataclass(frozen=True)
class Base:
    """A full-precision model: `metadata` as `gguf.GGUFWriter` takes it, tensors by GGUF name."""

    path: Path
    hyperparameters: Hyperparameters
    metadata: dict[str, GGUFValue] = field(repr=False)
    tensors: dict[str, Tensor] = field(repr=False)
    weight_files: tuple[Path, ...] = ()
    """The files that hold the weights."""

    @property
    def architecture(self) -> Architecture:
        """The row of its family."""
        return self.hyperparameters.architecture


def metadata_text(base: Base, key: str) -> str | None:
    """Return a value of the base's metadata as text; None if there is none."""
    if key not in base.metadata:
        return None
    value = base.metadata[key].value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def open_gguf_base(path: Path) -> Base:
    """Open a GGUF as a base: its dequantized weights are the full-precision model.

    Raises `ModelError` if it is damaged, contradicts itself, or is of another architecture.
    """
    file = GGUFFile(path)
    return Base(
        path,
        check_model(file),
        file.metadata(),
        {
            name: Tensor(name, info.shape, _reader(file, name))
            for name, info in file.tensors.items()
        },
        (path,),
    )


def _reader(file: GGUFFile, name: str) -> Callable[[int, int], NDArray[np.float32]]:
    shape = file.tensors[name].shape
    if len(shape) == 1:
        return lambda start, end: file.float32(name)[start:end]
    rows = prod(shape[1:-1])
    return lambda start, end: file.rows(name, start * rows, end * rows).reshape(-1, *shape[1:])
