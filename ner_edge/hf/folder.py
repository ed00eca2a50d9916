"""A model in a Hugging Face folder, its weights checked against its settings."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ner_edge.errors import ModelError
from ner_edge.files.inputs import read_input
from ner_edge.files.typed import read_json
from ner_edge.hf.config import HFConfig, read_config
from ner_edge.hf.safetensors import SafetensorsFile
from ner_edge.shapes import Hyperparameters, listed

_IGNORED = ".rotary_emb.inv_freq"  # old checkpoints store what the configuration says
_INDEX_LIMIT = 64_000_000  # bytes
# Files that transformers and gguf read without a limit of size or depth.
_SETTINGS = ("generation_config.json", "special_tokens_map.json", "tokenizer_config.json")
_SETTINGS_LIMIT = 16_000_000  # bytes
TOKENIZER_LIMIT = 128_000_000  # bytes


class Weight(NamedTuple):
    """A tensor in one of the folder's files."""

    file: SafetensorsFile
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in the file."""
        return self.file.entries[self.name].shape


class HFFolder(NamedTuple):
    """The settings, sizes and files of a model, and its weights by their GGUF names."""

    path: Path
    config: HFConfig
    hyperparameters: Hyperparameters
    files: list[SafetensorsFile]
    weights: dict[str, Weight]


def open_hf_folder(path: Path) -> HFFolder:
    """Read the settings and the weights' headers.

    Raises `ModelError` if they are incomplete or damaged, contradict each other, or belong to an
    architecture that is not supported.
    """
    config = read_config(path / "config.json")
    for name in _SETTINGS:
        if (path / name).exists():
            read_json(path / name, dict[str, Any], "a model's settings", limit=_SETTINGS_LIMIT)
    if (path / "tokenizer.json").exists():
        read_input(path / "tokenizer.json", TOKENIZER_LIMIT, error=ModelError)
    hyperparameters = config.hyperparameters(path)
    files = _weight_files(path)
    weights, unknown = {}, []
    for file in files:
        file.check_floats()
        for name in file.entries:
            module, _, part = name.rpartition(".")
            target = config.architecture.tensor(module)
            if name.endswith(_IGNORED) or (module == "lm_head" and config.is_tied):
                continue
            if target is None or part not in ("weight", "bias"):
                unknown.append(name)
            else:
                weights[f"{target}.{part}"] = Weight(file, name)
    if unknown:
        raise ModelError(f"{path}: not {config.architecture.name} tensors: {listed(unknown)}")
    if not config.is_tied and "output.weight" not in weights:
        raise ModelError(f"{path}: its weights lack lm_head.weight")
    hyperparameters.check({name: weight.shape for name, weight in weights.items()})
    return HFFolder(path, config, hyperparameters, files, weights)


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


def _weight_files(folder: Path) -> list[SafetensorsFile]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [SafetensorsFile(whole)]
    if not index.is_file():
        raise ModelError(
            f"{folder}: contains no model.safetensors (weights in .bin files can run code, so they "
            "are not read: convert them to safetensors)"
        )
    names = set(
        read_json(index, _Index, "an index of weights", limit=_INDEX_LIMIT).weight_map.values()
    )
    if outside := [name for name in names if Path(name).name != name]:
        raise ModelError(f"{index}: names files outside its folder: {listed(outside)}")
    return [SafetensorsFile(folder / name) for name in sorted(names)]
