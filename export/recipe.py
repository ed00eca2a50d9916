"""Which type each tensor gets: a recipe, read from and written to TOML, and found for a size.

A recipe is a choice of one type for each weight matrix. Its damage is taken for the sum of what
each choice does alone, so the best one under a size is found tensor by tensor, by putting a price
on bytes (Lagrange relaxation) and raising it until the file is small enough.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf import GGMLQuantizationType

from ner_edge.atomic import atomic_path
from ner_edge.errors import UsageError

_STEPS = 100  # of the bisection of the price


@dataclass(frozen=True)
class Recipe:
    """A name, which goes into the file's name, and a type for each named tensor."""

    name: str
    types: dict[str, str]

    def save(self, path: Path) -> None:
        """Write it as TOML, one tensor a line."""
        lines = [f'name = "{self.name}"', "", "[types]"]
        lines += [f'"{tensor}" = "{kind}"' for tensor, kind in self.types.items()]
        with atomic_path(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Choice:
    """One type for one tensor: its bytes, and the damage it is expected to do, in any unit."""

    type: str
    nbytes: int
    damage: float


def read_recipe(path: Path) -> Recipe:
    """Read what `Recipe.save` wrote, or was written by hand. Raises `UsageError`."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such recipe") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a recipe ({error})") from None
    name, types = values.get("name", path.stem), values.get("types")
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise UsageError(f"{path}: name must be letters, digits, dots and dashes, not {name!r}")
    if not isinstance(types, dict) or not types:
        raise UsageError(f"{path}: has no [types], a line 'tensor = \"type\"' for each tensor")
    for tensor, kind in types.items():
        if not isinstance(kind, str) or kind.upper() not in GGMLQuantizationType.__members__:
            raise UsageError(f"{path}: {tensor} has no type of ggml but {kind!r}")
    return Recipe(name, types)


def parse_size(text: str) -> int:
    """Bytes of `80MB`, `1.5 GB` or `80000000`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is not a size; write it like 80MB or 4.5GB")
    return int(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]])


def best_choices(choices: Mapping[str, Sequence[Choice]], size: int) -> dict[str, Choice]:
    """One choice for each tensor, within `size` bytes: no other of as many bytes does less damage
    in sum. Some bytes stay unused where the next change would take more. Raises `UsageError` if
    even the smallest choices do not fit."""
    smallest = sum(min(c.nbytes for c in options) for options in choices.values())
    if smallest > size:
        raise UsageError(
            f"no recipe fits into {size / 1e6:.1f} MB of weights; the smallest has "
            f"{smallest / 1e6:.1f} MB"
        )

    def at_price(price: float) -> dict[str, Choice]:
        return {
            name: min(options, key=lambda c: (c.damage + price * c.nbytes, c.nbytes))
            for name, options in choices.items()
        }

    chosen = at_price(0.0)
    if _bytes(chosen) <= size:
        return chosen
    low, high = 0.0, 1e-30
    while _bytes(at_price(high)) > size:
        low, high = high, high * 10
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _bytes(at_price(middle)) > size else (low, middle)
    return at_price(high)


def _bytes(chosen: Mapping[str, Choice]) -> int:
    return sum(choice.nbytes for choice in chosen.values())
