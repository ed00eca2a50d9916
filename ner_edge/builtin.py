"""The built-in models, each exported on first use from a base and an adapter in the package."""

import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

from ner_edge.errors import ModelError
from ner_edge.files.atomic import exclusive
from ner_edge.files.cache import cache_dir, cache_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.models.resolve import named_base

if TYPE_CHECKING:
    from ner_edge.export.request import ExportRequest


@dataclass(frozen=True)
class BuiltIn:
    """A model exported on first use from a named base and an adapter in the package."""

    base: str
    folder: str
    """The adapter's folder in the package."""
    quant: str
    """The default quantization type or recipe."""
    megabytes: int
    """The size of that file."""


DEFAULT_MODEL = "conll2003-135m"
BUILT_IN = {DEFAULT_MODEL: BuiltIn("smollm2", "default", "100mb", 100)}


def resolve_model(name: str | None) -> Path:
    """Return the GGUF file that `-m` names: a path, or a built-in model with an optional
    quantization type or recipe (`conll2003-135m:q4_k_m`). None means the default model.

    Raises `ModelError` if there is no such file.
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
    """Return the file of one of `BUILT_IN` with a quantization type or one of the model's recipes
    (`100mb`), exporting it to the cache on first use.

    Raises `UsageError` if the type is unknown or needs an importance matrix, `ModelError` if the
    package lacks the adapter.
    """
    built_in = BUILT_IN[model]
    quant = (quant or built_in.quant).strip().lower()
    path = built_in_path(model, quant)
    if path.is_file():
        return path
    name = path.name.removesuffix(f"-{quant}.gguf")
    with as_file(files("ner_edge").joinpath(built_in.folder)) as adapter:
        request = _request(path.parent, name, quant, adapter)
        with exclusive(cache_folder("models") / f"{name}.making", "", wait=True):
            if not path.is_file():  # another process may have built it in the meantime
                base = named_base(built_in.base)
                print(f"Making {model}:{quant} (first use only) ...", file=sys.stderr, flush=True)
                _export(base, adapter, request)
    return path


def built_in_path(model: str, quant: str = "") -> Path:
    """Return where the file of `built_in_model` lies, or will lie once it is made.

    Raises `ModelError` if the package lacks the adapter.
    """
    built_in = BUILT_IN[model]
    with as_file(files("ner_edge").joinpath(built_in.folder)) as adapter:
        if not (adapter / "adapter_model.safetensors").is_file():
            raise ModelError(f"this installation does not include {model}; give a file with -m")
        name = f"{model}-{_digest(adapter)[:8]}-{quant or built_in.quant}.gguf"
    return cache_dir() / "models" / name


def _request(folder: Path, name: str, quant: str, adapter: Path) -> "ExportRequest":
    from ner_edge.export.quantize.recipe import read_recipe
    from ner_edge.export.request import ExportRequest
    from ner_edge.gguf.imatrix import read_imatrix

    recipe = adapter / f"{quant}.toml"
    if recipe.is_file():
        imatrix = read_imatrix(adapter / "imatrix.gguf")
        return ExportRequest(folder, name=name, recipes=[read_recipe(recipe)], imatrix=imatrix)
    return ExportRequest(folder, [quant], name=name)


def _export(base: Path, adapter: Path, request: "ExportRequest") -> None:
    from ner_edge.export.pipeline import export_model

    export_model(base, adapter, request)


def _digest(adapter: Path) -> str:
    """Return a hash of the files from which the model is made; the scores only describe it."""
    digests = [sha256_of(file) for file in sorted(adapter.iterdir()) if file.name != "scores.json"]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
