"""Choose a type for each tensor, for a given file size or a given loss.

The KL divergence of a model is assumed to be the sum of the divergences that its tensors' types
cause. Types can then be chosen tensor by tensor: put a price on bytes (Lagrangian relaxation;
Everett 1963), and raise it until the file is small enough, or until the divergence exceeds the
limit. A final greedy pass uses up the rest of the size or the limit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from ner_edge.errors import UsageError

_BISECTIONS = 100


@dataclass(frozen=True)
class Choice:
    """One type for one tensor: its size and the KL divergence, in nats, that it is expected to
    cause."""

    type: str
    nbytes: int
    kl: float


Chosen = dict[str, Choice]
"""One choice for each tensor, by the tensor's name."""
Fits = Callable[[Chosen], bool]
Measure = Callable[[Choice], float]


def choose_for_size(choices: Mapping[str, Sequence[Choice]], size: int) -> Chosen:
    """Choose types with little KL divergence for at most `size` bytes.

    Changing the type of any one tensor cannot improve the result, and it exceeds the least possible
    divergence by no more than the largest difference between two types of one tensor. Raises
    `UsageError` if even the smallest choices are too large.
    """
    check_size(sum(min(c.nbytes for c in options) for options in choices.values()), size)

    def fits(chosen: Chosen) -> bool:
        return sum(choice.nbytes for choice in chosen.values()) <= size

    largest = _at_price(choices, 0.0)
    if fits(largest):
        return largest
    smaller = _at_price(choices, _bracket(choices, fits)[1])
    return _spend(smaller, choices, fits, lambda c: c.kl, lambda c: c.nbytes)


def choose_for_loss(choices: Mapping[str, Sequence[Choice]], kl: float) -> Chosen:
    """Choose small types whose KL divergence is at most `kl` nats.

    Changing the type of any one tensor cannot improve the result. Raises `UsageError` if even the
    choices with the least divergence exceed the limit.
    """

    def fits(chosen: Chosen) -> bool:
        return total_kl(chosen) <= kl

    best = _at_price(choices, 0.0)
    if not fits(best):
        raise UsageError(
            f"no recipe stays within {1000 * kl:g} millinats; the largest types are predicted to "
            f"lose {1000 * total_kl(best):.3g}"
        )
    smallest = {
        name: min(options, key=lambda c: (c.nbytes, c.kl)) for name, options in choices.items()
    }
    if fits(smallest):
        return smallest
    larger = _at_price(choices, _bracket(choices, lambda chosen: not fits(chosen))[0])
    return _spend(larger, choices, fits, lambda c: c.nbytes, lambda c: c.kl)


def check_size(smallest: int, size: int) -> None:
    """Raise `UsageError` if even the `smallest` choices, in bytes, are larger than `size`."""
    if smallest > size:
        raise UsageError(
            f"no recipe fits into {size / 1e6:.1f} MB of weights; the smallest has "
            f"{smallest / 1e6:.1f} MB"
        )


def total_kl(chosen: Chosen) -> float:
    """Return the KL divergence expected of all choices together, in nats."""
    return sum(choice.kl for choice in chosen.values())


def _at_price(choices: Mapping[str, Sequence[Choice]], price: float) -> Chosen:
    """The cheapest choice for each tensor, if a byte costs `price` nats."""
    return {
        name: min(options, key=lambda c: (c.kl + price * c.nbytes, c.nbytes, c.kl))
        for name, options in choices.items()
    }


def _bracket(choices: Mapping[str, Sequence[Choice]], is_above: Fits) -> tuple[float, float]:
    """Prices just below and just above the threshold where `is_above` becomes true.

    It must be false for the choices at price 0, and true for the smallest.
    """
    low, high = 0.0, 1e-30
    while not is_above(_at_price(choices, high)):
        low, high = high, high * 10
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_above(_at_price(choices, middle)) else (middle, high)
    return low, high


def _spend(
    chosen: Chosen,
    choices: Mapping[str, Sequence[Choice]],
    fits: Fits,
    value: Measure,
    cost: Measure,
) -> Chosen:
    """Lower the `value` of single choices as long as the result fits, best gain per cost first."""

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
