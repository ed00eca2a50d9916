"""The importance matrix (imatrix): the mean squared inputs of each weight matrix.

Columns with large inputs deserve a smaller rounding error. Files have the format of llama.cpp's
`tools/imatrix` (GGUF since 2025), so each program can read the other's.
"""

from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile

_SUMS, _COUNTS = ".in_sum2", ".counts"
_SHA256 = "ner_edge.dataset_sha256"


@dataclass
class Imatrix:
    """Sums of squared inputs, [columns], and counts of tokens, both by weight name."""

    sums: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    dataset: str = ""
    """The name of the file of sentences."""
    dataset_sha256: str = ""
    """Its SHA-256, if known."""

    def add(self, name: str, inputs: NDArray[np.float32]) -> None:
        """Add the inputs of some tokens, [tokens, columns]."""
        if not len(inputs):  # the last layers see only the tokens whose logits are wanted
            return
        squares = np.square(inputs, dtype=np.float64).sum(axis=0)
        self.sums[name] = self.sums.get(name, 0.0) + squares
        self.counts[name] = self.counts.get(name, 0) + len(inputs)

    def means(self, name: str) -> NDArray[np.float32] | None:
        """Return the mean squared inputs of a weight, [columns]; None if it was never used."""
        if not self.counts.get(name):
            return None
        return (self.sums[name] / self.counts[name]).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the matrix to `path`."""
        writer = GGUFWriter(path, "imatrix")
        try:
            writer.add_type("imatrix")
            writer.add_array("imatrix.datasets", [self.dataset])
            if self.dataset_sha256:
                writer.add_string(_SHA256, self.dataset_sha256)
            writer.add_uint32("imatrix.chunk_count", 1)
            writer.add_uint32("imatrix.chunk_size", max(self.counts.values(), default=1))
            for name, sums in self.sums.items():
                writer.add_tensor(name + _SUMS, sums.astype(np.float32)[None])
                count = np.array([[self.counts[name]]], np.float32)
                writer.add_tensor(name + _COUNTS, count)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def read_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix of ner-edge or llama.cpp. Raises `ModelError` if it is damaged."""
    file = GGUFFile(path)
    names = [name.removesuffix(_SUMS) for name in file.tensors if name.endswith(_SUMS)]
    if file.text("general.type") != "imatrix" or not names:
        raise ModelError(f"{path}: not an importance matrix (GGUF of type imatrix)")
    first = next(iter(file.items("imatrix.datasets") or []), b"")
    if not isinstance(first, bytes):
        raise file.damaged("imatrix.datasets contains no strings")
    found = Imatrix(
        dataset=first.decode("utf-8", "replace"), dataset_sha256=file.text(_SHA256) or ""
    )
    for name in names:
        rows = file.tensors[name + _SUMS].shape[:-1]
        counts = file.tensors.get(name + _COUNTS)
        if prod(rows) != 1 or counts is None or prod(counts.shape) != 1:
            raise ModelError(
                f"{path}: {name} is not a plain matrix; mixtures of experts are not supported"
            )
        sums, (count,) = (file.float32(name + part).ravel() for part in (_SUMS, _COUNTS))
        if not np.isfinite(sums).all() or sums.min() < 0 or not 1 <= count < 1e15:
            raise ModelError(f"{path}: {name} contains impossible values; collect the matrix again")
        found.sums[name], found.counts[name] = sums.astype(np.float64), int(count)
    return found
