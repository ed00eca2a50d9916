"""Which type each tensor gets: a recipe, read from and written to TOML, and found for a size.

A recipe is a choice of one type for each weight matrix. Its damage is taken for the sum of what
each choice does alone, so the best one is found tensor by tensor, by putting a price on bytes
(Lagrange relaxation; Everett 1963) and raising it until the file is small enough, or until more
damage is done than is allowed.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType

from ner_edge.atomic import write_text
from ner_edge.errors import UsageError

_STEPS = 100  # of the bisection of the price


@dataclass(frozen=True)
class Recipe:
    """A name, which goes into the file's name, and a type for each named tensor."""

    name: str
    types: dict[str, str]
    predicted_kl_millinats: float | None = None
    """The mean divergence of the task's decisions that was expected when it was found."""

    def facts(self) -> dict[str, Any]:
        """Its name and prediction, for a manifest."""
        prediction = self.predicted_kl_millinats
        return {"name": self.name} | (
            {} if prediction is None else {"predicted_kl_millinats": round(prediction, 4)}
        )

    def save(self, path: Path) -> None:
        """Write it as TOML, one tensor a line."""
        lines = [f'name = "{self.name}"']
        if self.predicted_kl_millinats is not None:
            lines.append(f"predicted_kl_millinats = {self.predicted_kl_millinats:.4f}")
        lines += ["", "[types]"]
        lines += [f'"{tensor}" = "{kind}"' for tensor, kind in self.types.items()]
        write_text("\n".join(lines) + "\n", str(path))


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
    return Recipe(name, types, _number(values.get("predicted_kl_millinats")))


def _number(value: Any) -> float | None:
    """A prediction is only passed on, so one that is none does no harm."""
    return float(value) if type(value) in (int, float) and isfinite(value) else None


def parse_size(text: str) -> int:
    """Bytes of `80MB`, `1.5 GB` or `80000000`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is not a size; write it like 80MB or 4.5GB")
    return int(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]])


Chosen = dict[str, Choice]
"""One choice for each tensor, by its name."""


def best_choices(choices: Mapping[str, Sequence[Choice]], size: int) -> Chosen:
    """One choice for each tensor, within `size` bytes: no other of as many bytes does less damage
    in sum. Some bytes stay unused where the next change would take more. Raises `UsageError` if
    even the smallest choices do not fit."""
    check_size(sum(min(c.nbytes for c in options) for options in choices.values()), size)

    def fits(chosen: Chosen) -> bool:
        return _bytes(chosen) <= size

    largest = _at_price(choices, 0.0)
    if fits(largest):
        return largest
    larger, smaller = _around(choices, fits)
    return _as_many(smaller, larger, fits)


def smallest_choices(choices: Mapping[str, Sequence[Choice]], damage: float) -> Chosen:
    """One choice for each tensor, of at most `damage` in sum: no other that does as little is
    smaller. Some damage stays undone where the next change would do more. Raises `UsageError` if
    even the least harmful choices do more."""

    def bears(chosen: Chosen) -> bool:
        return damage_of(chosen) <= damage

    best = _at_price(choices, 0.0)
    if not bears(best):
        raise UsageError(
            f"no recipe loses as little as {1000 * damage:g} millinats: the largest types are "
            f"predicted to lose {1000 * damage_of(best):.3g}"
        )
    smallest = {
        name: min(options, key=lambda c: (c.nbytes, c.damage)) for name, options in choices.items()
    }
    if bears(smallest):
        return smallest
    larger, smaller = _around(choices, lambda chosen: not bears(chosen))
    return _as_many(larger, smaller, bears)


def check_size(smallest: int, size: int) -> None:
    """Raises `UsageError` if even the `smallest` choices, in bytes, are larger than `size`."""
    if smallest > size:
        raise UsageError(
            f"no recipe fits into {size / 1e6:.1f} MB of weights; the smallest has "
            f"{smallest / 1e6:.1f} MB"
        )


def damage_of(chosen: Chosen) -> float:
    """What all choices together are expected to do."""
    return sum(choice.damage for choice in chosen.values())


def _bytes(chosen: Chosen) -> int:
    return sum(choice.nbytes for choice in chosen.values())


def _at_price(choices: Mapping[str, Sequence[Choice]], price: float) -> Chosen:
    """For each tensor what costs least if a byte costs as much as `price` of damage."""
    return {
        name: min(options, key=lambda c: (c.damage + price * c.nbytes, c.nbytes, c.damage))
        for name, options in choices.items()
    }


def _around(
    choices: Mapping[str, Sequence[Choice]], is_dear: Callable[[Chosen], bool]
) -> tuple[Chosen, Chosen]:
    """The choices just below and just above the price from which on they satisfy `is_dear`, as
    those at price 0 do not and the smallest do."""
    low, high = 0.0, 1e-30
    while not is_dear(_at_price(choices, high)):
        low, high = high, high * 10
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_dear(_at_price(choices, middle)) else (middle, high)
    return _at_price(choices, low), _at_price(choices, high)


def _as_many(chosen: Chosen, others: Chosen, fits: Callable[[Chosen], bool]) -> Chosen:
    """`chosen` with as many of `others` as fit: at the same price, each change is as good."""
    for name, choice in others.items():
        if fits(changed := chosen | {name: choice}):
            chosen = changed
    return chosen
