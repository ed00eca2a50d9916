"""Base plus adapter, some rows at a time: what is read is never kept."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ner_edge.export.read.adapter import Adapter, LoraPair
from ner_edge.export.read.base import Base, Tensor


def merge(base: Base, adapter: Adapter, changed: set[str] | None = None) -> Base:
    """The base with each adapted weight replaced by `W + scale · B · A`, in float32, when read.

    An adapted `lm_head` on tied embeddings becomes a weight of its own: the embedding stays.
    `changed` receives the names of tensors as soon as a row that differs from the base is read.
    """
    tensors = dict(base.tensors)
    seen = set() if changed is None else changed
    for name, pair in adapter.pairs.items():
        source = tensors.get(name) or tensors["token_embd.weight"]
        tensors[name] = Tensor(name, source.shape, _adder(source, pair, seen))
    return replace(base, tensors=tensors)


def _adder(
    source: Tensor, pair: LoraPair, changed: set[str]
) -> Callable[[int, int], NDArray[np.float32]]:
    def read_slice(start: int, end: int) -> NDArray[np.float32]:
        weight = source.read_slice(start, end)
        delta = pair.delta(start, end)
        if pair.tensor in changed:
            weight += delta
            return weight
        merged = weight + delta
        if not np.array_equal(merged, weight):
            changed.add(pair.tensor)
        return merged

    return read_slice
