"""A recipe: which ggml type each tensor gets, in a TOML file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from gguf import GGMLQuantizationType

from ner_edge.errors import UsageError
from ner_edge.files.typed import read_toml


@dataclass(frozen=True)
class Recipe:
    """A ggml type for each tensor named. The recipe's own name becomes part of the file name."""

    name: str
    types: dict[str, str]
    predicted_kl_millinats: float | None = None
    """The mean KL divergence of the task's decisions, as predicted by the search that found the
    recipe; None if it was written by hand."""

    def provenance(self) -> dict[str, str | float]:
        """Return its name and prediction, for a manifest."""
        if self.predicted_kl_millinats is None:
            return {"name": self.name}
        prediction = round(self.predicted_kl_millinats, 4)
        return {"name": self.name, "predicted_kl_millinats": prediction}

    def to_toml(self) -> str:
        """Return the recipe as TOML, one tensor per line."""
        lines = [f'name = "{self.name}"']
        if self.predicted_kl_millinats is not None:
            lines.append(f"predicted_kl_millinats = {self.predicted_kl_millinats:.4f}")
        lines += ["", "[types]"]
        lines += [f'"{tensor}" = "{kind}"' for tensor, kind in self.types.items()]
        return "\n".join(lines) + "\n"


class _RecipeFile(msgspec.Struct, forbid_unknown_fields=True):
    types: dict[str, str] = {}
    name: str | None = None
    predicted_kl_millinats: Any = None


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from TOML. Raises `UsageError` if it is damaged or names an unknown type."""
    recipe = read_toml(path, _RecipeFile, "a recipe", error=UsageError)
    name = path.stem if recipe.name is None else recipe.name
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise UsageError(f"{path}: name must be letters, digits, dots and dashes, not {name!r}")
    if not recipe.types:
        raise UsageError(f"{path}: has no [types], a line 'tensor = \"type\"' for each tensor")
    for tensor, kind in recipe.types.items():
        if kind.upper() not in GGMLQuantizationType.__members__:
            raise UsageError(f"{path}: {tensor}: {kind!r} is not a ggml type")
    return Recipe(name, recipe.types, _valid_prediction(recipe.predicted_kl_millinats))


def _valid_prediction(value: Any) -> float | None:
    """The prediction is only reported, so an invalid one is dropped."""
    return float(value) if type(value) in (int, float) and 0 <= value < 1e9 else None


def parse_size(text: str) -> int:
    """Return the bytes of `80MB`, `1.5 GB` or `80000000`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is not a size; write it like 80MB or 4.5GB")
    return int(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]])
