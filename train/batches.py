"""Which sentences are trained on together, and in which order."""

import random
from collections.abc import Iterator, Sequence

from ner_edge.hf.prompts import Example

_WINDOW = 8  # batches sorted by length together: little padding, nearly random order


def plan_epoch(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Indices of each batch of an epoch; the same for the same `seed` and `epoch`.

    Examples of similar length meet, since attention pads the rows of a batch to the longest.
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


def split_by_tokens(
    examples: Sequence[Example], prefix: int, max_tokens: int
) -> Iterator[list[Example]]:
    """Parts of `examples` that fit into packed sequences of `max_tokens`; at least one in each."""
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
