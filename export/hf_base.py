"""A Hugging Face folder as base: config.json, tokenizer.json and safetensors, read in place."""

from pathlib import Path

import numpy as np
from gguf import GGUFWriter
from numpy.typing import NDArray

from ner_edge.architectures import check_architecture
from ner_edge.errors import ModelError
from ner_edge.export.base import Base, Tensor
from ner_edge.export.hf_config import (
    HFConfig,
    add_hyperparameters,
    read_config,
    read_json,
    rope_factors,
)
from ner_edge.export.hf_tokenizer import add_tokenizer
from ner_edge.export.safetensors_file import SafetensorsFile
from ner_edge.gguf_names import (
    gguf_name,
    heads_to_permute,
    layer_modules,
    permuted_rows,
)

_LISTED = 8
_IGNORED = ".rotary_emb.inv_freq"  # old checkpoints store what the configuration says


def open_hf_base(folder: Path) -> Base:
    """Open a model folder; no weight is read yet.

    Raises `ModelError` if it is incomplete, damaged, of another architecture, or computes
    something that llama.cpp does not.
    """
    values = read_json(folder / "config.json")
    model_type = check_architecture(values.get("model_type"), folder)
    config = read_config(folder / "config.json", model_type, values)
    files = _weight_files(folder)
    tensors = _tensors(folder, config, files)
    writer = GGUFWriter(None, config.architecture)
    add_hyperparameters(writer, config)
    add_tokenizer(writer, folder, config.vocabulary)
    return Base(
        folder,
        config.architecture,
        config.heads,
        config.key_value_heads,
        writer.kv_data[0],
        tensors,
        tuple(file.path for file in files),
    )


def _tensors(folder: Path, config: HFConfig, files: list[SafetensorsFile]) -> dict[str, Tensor]:
    file_of = {name: file for file in files for name in file.entries}
    tensors = {}
    unknown = []
    expected = set(_expected(config))
    for name, file in file_of.items():
        module, _, part = name.rpartition(".")
        target = gguf_name(module)
        if name.endswith(_IGNORED) or (module == "lm_head" and config.tied_embeddings):
            continue
        if f"{target}.weight" not in expected or part not in ("weight", "bias"):
            unknown.append(name)
            continue
        tensors[f"{target}.{part}"] = _tensor(f"{target}.{part}", file, name, config)
    if unknown:
        raise ModelError(f"{folder}: not {config.architecture} tensors: {_shorten(unknown)}")
    missing = [name for name in _expected(config) if name not in tensors]
    if missing:
        raise ModelError(f"{folder}: its weights lack {_shorten(missing)}")
    rows = tensors["token_embd.weight"].shape[0]
    if rows != config.vocabulary:
        raise ModelError(f"{folder}: {rows} embeddings, but a vocab_size of {config.vocabulary}")
    factors = rope_factors(config)
    if factors is not None:
        tensors["rope_freqs.weight"] = _constant("rope_freqs.weight", factors)
    return tensors


def _weight_files(folder: Path) -> list[SafetensorsFile]:
    if (folder / "model.safetensors").is_file():
        return [SafetensorsFile(folder / "model.safetensors")]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise ModelError(
            f"{folder}: holds no model.safetensors (weights in .bin files are not read: they can "
            "run code; convert them to safetensors)"
        )
    names = sorted(set(read_json(index).get("weight_map", {}).values()))
    return [SafetensorsFile(folder / name) for name in names]


def _tensor(name: str, file: SafetensorsFile, source: str, config: HFConfig) -> Tensor:
    shape = file.entries[source].shape
    heads = heads_to_permute(config.architecture, name, config.heads, config.key_value_heads)
    if heads is not None and shape[0] != heads * config.head_width:
        raise ModelError(
            f"{file.path}: {source} is {shape}, but config.json promises {heads} heads of "
            f"{config.head_width}"
        )

    def read_slice(start: int, end: int) -> NDArray[np.float32]:
        return file.float32(source, start, end)

    if heads is not None:
        return Tensor(name, shape, permuted_rows(read_slice, config.head_width))
    return Tensor(name, shape, read_slice)


def _constant(name: str, values: NDArray[np.float32]) -> Tensor:
    return Tensor(name, values.shape, lambda start, end: values[start:end].copy())


def _expected(config: HFConfig) -> list[str]:
    modules = ["model.embed_tokens", "model.norm"]
    modules += [] if config.tied_embeddings else ["lm_head"]
    for layer in range(config.layers):
        modules += layer_modules(layer, config.architecture)
    return [f"{gguf_name(module)}.weight" for module in modules]


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
