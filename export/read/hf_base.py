"""A Hugging Face folder as a base: config.json, tokenizer.json and safetensors, read in place."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from ner_edge.export.read.base import Base, Tensor
from ner_edge.export.read.hf_metadata import add_hyperparameters, refuse_unsupported, rope_factors
from ner_edge.export.read.hf_tokenizer import add_tokenizer
from ner_edge.gguf.row_order import permuted_rows
from ner_edge.hf.folder import HFFolder, Weight, open_hf_folder


def open_hf_base(path: Path) -> Base:
    """Open a model folder; no weight is read yet.

    Raises `ModelError` if it is incomplete, damaged, of another architecture, or computes
    something that llama.cpp does not.
    """
    folder = open_hf_folder(path)
    refuse_unsupported(folder)
    sizes = folder.hyperparameters
    writer = GGUFWriter(None, sizes.architecture.name)
    add_hyperparameters(writer, folder)
    add_tokenizer(writer, folder)
    tensors = {name: _tensor(name, weight, folder) for name, weight in folder.weights.items()}
    factors = rope_factors(folder)
    if factors is not None:
        tensors["rope_freqs.weight"] = _constant("rope_freqs.weight", factors)
    return Base(
        path,
        sizes,
        writer.kv_data[0],
        tensors,
        tuple(file.path for file in folder.files),
    )


def _tensor(name: str, weight: Weight, folder: HFFolder) -> Tensor:
    sizes = folder.hyperparameters
    shift = sizes.architecture.norm_shift if name.endswith("norm.weight") else 0.0

    def read_slice(start: int, end: int) -> NDArray[np.float32]:
        rows = weight.file.float32(weight.name, start, end)
        return rows + np.float32(shift) if shift else rows

    if sizes.heads_to_permute(name) is not None:
        return Tensor(name, weight.shape, permuted_rows(read_slice, sizes.head_width))
    return Tensor(name, weight.shape, read_slice)


def _constant(name: str, values: NDArray[np.float32]) -> Tensor:
    return Tensor(name, values.shape, lambda start, end: values[start:end].copy())
