"""Which type each tensor gets: a recipe, read from and written to TOML, and found for a size.

A recipe is a choice of one type for each weight matrix. Its damage is taken for the sum of what
each choice does alone, so the best one is found tensor by tensor, by putting a price on bytes
(Lagrange relaxation; Everett 1963) and raising it until the file is small enough, or until more
damage is done than is allowed. What one large tensor then leaves over goes to others, one by one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import msgspec
from gguf import GGMLQuantizationType

from ner_edge.errors import UsageError
from ner_edge.files.typed import read_toml

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

    def to_toml(self) -> str:
        """As TOML, one tensor a line."""
        lines = [f'name = "{self.name}"']
        if self.predicted_kl_millinats is not None:
            lines.append(f"predicted_kl_millinats = {self.predicted_kl_millinats:.4f}")
        lines += ["", "[types]"]
        lines += [f'"{tensor}" = "{kind}"' for tensor, kind in self.types.items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Choice:
    """One type for one tensor: its bytes, and the damage it is expected to do, in any unit."""

    type: str
    nbytes: int
    damage: float


def read_recipe(path: Path) -> Recipe:
    """Read what `Recipe.to_toml` wrote, or was written by hand. Raises `UsageError`."""
    recipe = read_toml(path, _RecipeFile, "a recipe", error=UsageError)
    name = path.stem if recipe.name is None else recipe.name
    if not re.fullmatch(r"[\w.-]{1,100}", name):
        raise UsageError(f"{path}: name must be letters, digits, dots and dashes, not {name!r}")
    if not recipe.types:
        raise UsageError(f"{path}: has no [types], a line 'tensor = \"type\"' for each tensor")
    for tensor, kind in recipe.types.items():
        if kind.upper() not in GGMLQuantizationType.__members__:
            raise UsageError(f"{path}: {tensor}: {kind!r} is not a ggml type")
    return Recipe(name, recipe.types, _number(recipe.predicted_kl_millinats))


class _RecipeFile(msgspec.Struct, forbid_unknown_fields=True):
    types: dict[str, str] = {}
    name: str | None = None
    predicted_kl_millinats: Any = None


def _number(value: Any) -> float | None:
    """A prediction is only passed on, so one that is none does no harm."""
    return float(value) if type(value) in (int, float) and 0 <= value < 1e9 else None


def parse_size(text: str) -> int:
    """Bytes of `80MB`, `1.5 GB` or `80000000`. Raises `UsageError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)b?", text.strip().lower())
    if not match:
        raise UsageError(f"'{text}' is not a size; write it like 80MB or 4.5GB")
    return int(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[match[2]])


Chosen = dict[str, Choice]
"""One choice for each tensor, by its name."""
Fits = Callable[[Chosen], bool]
Measure = Callable[[Choice], float]


def best_choices(choices: Mapping[str, Sequence[Choice]], size: int) -> Chosen:
    """One choice for each tensor, within `size` bytes, that do little damage in sum: no other
    choice for one tensor alone does less and fits, and no set of choices of that size does less by
    more than the largest difference a tensor makes. Raises `UsageError` if even the smallest
    choices do not fit."""
    check_size(sum(min(c.nbytes for c in options) for options in choices.values()), size)

    def fits(chosen: Chosen) -> bool:
        return _bytes(chosen) <= size

    largest = _at_price(choices, 0.0)
    if fits(largest):
        return largest
    smaller = _at_price(choices, _bracket(choices, fits)[1])
    return _spend(smaller, choices, fits, lambda c: c.damage, lambda c: c.nbytes)


def smallest_choices(choices: Mapping[str, Sequence[Choice]], damage: float) -> Chosen:
    """One choice for each tensor, of at most `damage` in sum, that take few bytes: no other choice
    for one tensor alone is smaller and does no more than that. Raises `UsageError` if even the
    least harmful choices do more."""

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
    larger = _at_price(choices, _bracket(choices, lambda chosen: not bears(chosen))[0])
    return _spend(larger, choices, bears, lambda c: c.nbytes, lambda c: c.damage)


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


def _bracket(choices: Mapping[str, Sequence[Choice]], is_dear: Fits) -> tuple[float, float]:
    """Prices just below and just above the one from which on the choices satisfy `is_dear`, as
    those at price 0 do not and the smallest do."""
    low, high = 0.0, 1e-30
    while not is_dear(_at_price(choices, high)):
        low, high = high, high * 10
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_dear(_at_price(choices, middle)) else (middle, high)
    return low, high


def _spend(
    chosen: Chosen,
    choices: Mapping[str, Sequence[Choice]],
    fits: Fits,
    value: Measure,
    cost: Measure,
) -> Chosen:
    """`chosen` with choices of lower `value`, as long as one fits: each time the one that lowers it
    most for what it costs."""

    def worth(change: tuple[str, Choice]) -> float:
        name, choice = change
        gain, price = value(chosen[name]) - value(choice), cost(choice) - cost(chosen[name])
        return gain / price if price > 0 else inf

    while True:
        changes = [
            (name, choice)
            for name, options in choices.items()
            for choice in options
            if value(choice) < value(chosen[name])
        ]
        for name, choice in sorted(changes, key=worth, reverse=True):
            if fits(changed := chosen | {name: choice}):
                chosen = changed
                break
        else:
            return chosen
