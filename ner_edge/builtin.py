"""The models with names of our own, built on first use from a base and an adapter."""

import hashlib
import os
import sys
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from ner_edge.errors import ModelError
from ner_edge.files.atomic import exclusive
from ner_edge.files.cache import cache_dir, cache_folder
from ner_edge.files.hashing import sha256_of
from ner_edge.models.resolve import named_base


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
    from ner_edge.export.quantize.types import parse_quants

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
    from ner_edge.export.quantize.recipe import read_recipe
    from ner_edge.gguf.imatrix import read_imatrix

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
