"""Where models come from: a path, a name, a hub id, or one of ours built on first use."""

import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from ner_edge.adapter_config import CONFIG_FILE, read_adapter_config
from ner_edge.atomic import exclusive
from ner_edge.cache import cache_dir, cache_folder
from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.hashing import sha256_of
from ner_edge.registry import QWEN_CODER, SMOLLM2, HubModel, PackagedModel, check_hash, fetch
from ner_edge.task import TASK_FILE

BASES: dict[str, PackagedModel | HubModel] = {"smollm2": SMOLLM2, "qwen-coder-0.5b": QWEN_CODER}


@dataclass(frozen=True)
class BuiltIn:
    """A model that is made on first use, of a named base and an adapter that the package holds."""

    base: str
    folder: str
    """Of the adapter, in the package."""
    quant: str
    """The level or recipe that is made unless another is asked for."""


DEFAULT_MODEL = "conll2003-135m"
BUILT_IN = {DEFAULT_MODEL: BuiltIn("smollm2", "default", "100mb")}


def resolve_model(name: str | None) -> Path:
    """The GGUF file that `-m` names: a path, or `conll2003-135m[:quant]` and the like.

    None is the default model. Raises `ModelError` if there is none.
    """
    if name is None:
        return built_in_model(DEFAULT_MODEL)
    model, _, quant = name.partition(":")
    if model in BUILT_IN:
        return built_in_model(model, quant)
    path = Path(name)
    if os.path.isdir(name) or not os.path.exists(name):
        kind = "is a folder" if os.path.isdir(name) else "no such file"
        raise ModelError(
            f"{name}: {kind}; give the path of a .gguf file made by `ner-edge export`, "
            f"or {' or '.join(f'{model}[:quant]' for model in BUILT_IN)}"
        )
    return path


def built_in_model(model: str, quant: str = "") -> Path:
    """One of `BUILT_IN` at a quantization level, or by one of its recipes (`100mb`), made in the
    cache on first use."""
    from ner_edge.export.quants import parse_quants

    built_in = BUILT_IN[model]
    quant = quant or built_in.quant
    with as_file(files("ner_edge").joinpath(built_in.folder)) as adapter:
        weights = adapter / "adapter_model.safetensors"
        if not weights.is_file():
            raise ModelError(f"this installation does not hold {model}; give a file with -m")
        name = f"{model}-{_digest(adapter)[:8]}"
        recipe = adapter / f"{quant.lower()}.toml"
        level = recipe.stem if recipe.is_file() else parse_quants([quant])[0].name
        path = cache_dir() / "models" / f"{name}-{level}.gguf"
        if path.is_file():
            return path
        with exclusive(cache_folder("models") / f"{name}.making", "", wait=True):
            if not path.is_file():  # unless another process has made it meanwhile
                base = named_base(built_in.base)
                print(f"Making {model} ({quant}, once) ...", file=sys.stderr, flush=True)
                _make(base, adapter, path, recipe)
    return path


def _make(base: Path, adapter: Path, path: Path, recipe: Path) -> None:
    from ner_edge.export.pipeline import export_model
    from ner_edge.export.recipe import read_recipe
    from ner_edge.imatrix import read_imatrix

    name, _, level = path.stem.rpartition("-")
    if recipe.is_file():
        imatrix, recipes = read_imatrix(adapter / "imatrix.gguf"), [read_recipe(recipe)]
        export_model(
            base, adapter, path.parent, [], name=name, calibration=imatrix, recipes=recipes
        )
    else:
        export_model(base, adapter, path.parent, [level], name=name)


def _digest(adapter: Path) -> str:
    """Of all that a file of a built-in model is made of."""
    digests = [sha256_of(file) for file in sorted(adapter.iterdir()) if file.name != "scores.json"]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def named_base(name: str) -> Path:
    """The GGUF of one of `BASES`: `NER_EDGE_BASE` (the file, or a folder with it) if set, else from
    the cache, else from where it is published."""
    model = BASES[name]
    if override := os.environ.get("NER_EDGE_BASE"):
        path = Path(override)
        path = path / model.file_name if path.is_dir() else path
        check_hash(path, model)
        return path
    path = cache_dir() / "bases" / model.file_name
    return path if path.is_file() else fetch(model, cache_folder("bases"))


def resolve_base(name: str) -> Path:
    """A base model for training and export: a GGUF or folder by path, one of `BASES`, or a hub id.

    Raises `ModelError` if it cannot be downloaded or is an adapter, `UsageError` if `name` is
    nothing of these.
    """
    named = name in BASES and not os.path.exists(name)
    path = named_base(name) if named else fetch_path(name)
    if is_adapter(path):
        raise ModelError(f"{name}: holds an adapter, not a base model; give the base it is for")
    return path


def is_adapter(path: Path) -> bool:
    """Does a folder hold a LoRA adapter, and no whole model?"""
    return (path / "adapter_config.json").is_file() and not _has_weights(path)


def is_model(path: Path) -> bool:
    """Does a folder hold a whole model, or part of one?"""
    return (path / "config.json").is_file() or _has_weights(path)


def _has_weights(path: Path) -> bool:
    names = ("model.safetensors", "model.safetensors.index.json")
    return any((path / name).is_file() for name in names)


def is_hub_id(name: str) -> bool:
    """Can `name` only mean a repository of a hub, like `Qwen/Qwen2.5-0.5B`?"""
    form = name.count("/") == 1 and all(name.split("/"))
    wrong = name.startswith((".", "/", "~")) or name.endswith(".gguf")
    return form and not wrong and not os.path.exists(name)


def fetch_path(name: str) -> Path:
    """A file or folder by path, or a hub id's folder: safetensors and tokenizer are downloaded
    into the hub's own cache.

    Raises `ModelError` if that fails, `UsageError` if `name` is neither.
    """
    if name and os.path.exists(name):
        return Path(name)
    if not is_hub_id(name):
        raise UsageError(
            f"{name}: no such file or folder, and not a hub id (like Qwen/Qwen2.5-0.5B)"
        )
    patterns = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.jinja"]
    return _from_hub(name, patterns)


def resolve_adapter(name: str | None) -> Path:
    """The folder of a LoRA adapter: by path, by hub id, or None for the default model's own.

    Raises `ModelError` if it cannot be had, `UsageError` if `name` is nothing of these.
    """
    if name is None:
        # The package is installed as files, so this is a folder that stays.
        with as_file(files("ner_edge").joinpath("default")) as folder:
            return folder
    if os.path.isdir(name):
        return Path(name)
    if not is_hub_id(name):
        raise UsageError(f"{name}: no such adapter folder, and not a hub id (like org/adapter)")
    return _from_hub(name, ["adapter_config.json", "adapter_model.safetensors", TASK_FILE])


def base_of(adapter: Path) -> Path:
    """The base that an adapter's configuration names, as `resolve_base` finds it.

    Raises `UsageError` if it names none, or an error with the way out if that cannot be had.
    """
    holds_config = (adapter / CONFIG_FILE).exists()
    name = read_adapter_config(adapter).base_model_name_or_path if holds_config else None
    if not name:
        raise UsageError(f"{adapter}: does not say which base it is for; give --base")
    try:
        return resolve_base(name)
    except NerEdgeError as error:
        raise type(error)(
            f"{adapter}: its base, {name}, is not here; give --base ({error})"
        ) from None


def _from_hub(name: str, patterns: list[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ModelError("models from a hub need: pip install huggingface_hub") from None
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the errors of its network library differ with its version
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{name}: cannot be downloaded from the hub ({reason})") from error
