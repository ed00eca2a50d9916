"""The batches of a run: which examples each epoch holds, and in which order."""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import NamedTuple

from ner_edge.hf.prompts import Example

_WINDOW = 8  # batches sorted by length together: little padding, nearly random order


class Share(NamedTuple):
    """The examples of one data file, of which each epoch holds `weight` times as many."""

    examples: int
    weight: float = 1.0

    @property
    def per_epoch(self) -> int:
        """The number of examples in each epoch."""
        return int(self.weight) * self.examples + self.drawn

    @property
    def drawn(self) -> int:
        """How many of them are drawn anew for each epoch: those of the weight's fraction."""
        return round(self.weight % 1 * self.examples)


@dataclass(frozen=True)
class Schedule:
    """The batches of a run, determined by the lengths of its examples, file by file, and by `seed`.

    Examples of similar length share a batch, since attention pads its rows to the longest.
    """

    lengths: Sequence[int]
    shares: Sequence[Share]
    batch_size: int
    epochs: float
    seed: int

    @cached_property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, the last of which may be smaller."""
        return math.ceil(sum(share.per_epoch for share in self.shares) / self.batch_size)

    @property
    def steps(self) -> int:
        """The number of batches in the run."""
        return math.ceil(self.steps_per_epoch * self.epochs)

    def epoch(self, number: int) -> list[list[int]]:
        """Return the indices of the examples in each batch of an epoch."""
        order = self._draw(number)
        shuffler = random.Random(f"{self.seed}/{number}")
        shuffler.shuffle(order)
        window = _WINDOW * self.batch_size
        batches = []
        for start in range(0, len(order), window):
            by_length = sorted(order[start : start + window], key=lambda i: self.lengths[i])
            batches += [
                by_length[i : i + self.batch_size]
                for i in range(0, len(by_length), self.batch_size)
            ]
        shuffler.shuffle(batches)
        return batches

    def batches_from(self, step: int) -> Iterator[list[int]]:
        """Yield the batches of one epoch after another, without end, from that of `step` on."""
        first_epoch, position = divmod(step, self.steps_per_epoch)
        for number in count(first_epoch):
            yield from self.epoch(number)[position:]
            position = 0

    def _draw(self, number: int) -> list[int]:
        drawn: list[int] = []
        first = 0
        for file, share in enumerate(self.shares):
            every = range(first, first + share.examples)
            drawn += [*every] * int(share.weight)
            drawn += random.Random(f"{self.seed}/{number}/{file}").sample(every, share.drawn)
            first += share.examples
        return drawn


def split_by_tokens(
    examples: Sequence[Example], prefix: int, max_tokens: int
) -> Iterator[list[Example]]:
    """Split `examples` into packed sequences of up to `max_tokens`, or of one example if longer."""
    part: list[Example] = []
    tokens = prefix
    for example in examples:
        if part and tokens + len(example) > max_tokens:
            yield part
            part, tokens = [], prefix
        part.append(example)
        tokens += len(example)
    if part:
        yield part
