"""The batches of an epoch: their sentences, their order, and copies in lower case."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import count

from ner_edge.data.corpus import Sentence
from ner_edge.hf.prompts import Example

_WINDOW = 8  # batches sorted by length together: little padding, nearly random order


def lower_cased(sentences: Sequence[Sentence], share: float, seed: int) -> list[Sentence]:
    """Return lower-case copies of a random `share` of the sentences that are not all lower case."""
    cased = [s for s in sentences if any(word != word.lower() for word in s.words)]
    chosen = random.Random(seed).sample(cased, round(share * len(cased)))
    return [Sentence([word.lower() for word in s.words], s.spans) for s in chosen]


def plan_epoch(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the indices of each batch of an epoch; `seed` and `epoch` determine them.

    Examples of similar length share a batch, since attention pads its rows to the longest.
    """
    shuffler = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    shuffler.shuffle(order)
    window = _WINDOW * batch_size
    batches = []
    for start in range(0, len(order), window):
        by_length = sorted(order[start : start + window], key=lambda i: lengths[i])
        batches += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    shuffler.shuffle(batches)
    return batches


def batches_from(
    step: int, lengths: Sequence[int], batch_size: int, seed: int
) -> Iterator[list[int]]:
    """Yield the batches of one epoch after another, without end, from that of `step` on."""
    first_epoch, position = divmod(step, steps_per_epoch(len(lengths), batch_size))
    for epoch in count(first_epoch):
        yield from plan_epoch(lengths, batch_size, seed, epoch)[position:]
        position = 0


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, the last of which may be smaller."""
    return math.ceil(examples / batch_size)


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
