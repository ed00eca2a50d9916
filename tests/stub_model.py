"""A stand-in for `LlamaModel` whose answers depend on every token in its memory."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import LlamaModel

# Pieces that make one move's tokens the beginning of another's, and labels that share a first one.
MERGES = [" [", " [[", "[[", " |", " OR", "]\n", ".\n", " the", " London"]

WIDTH = 3  # of hidden states


def tokenize(text: str, *, special: bool = False, start: bool = False) -> list[int]:
    """Bytes from 1000 on, and MERGES, longest first; chunks tokenize alone."""
    tokens = []
    for chunk in text.replace(" ", "\0 ").split("\0"):
        while chunk:
            merge = max((m for m in MERGES if chunk.startswith(m)), key=len, default="")
            if merge:
                tokens.append(2000 + MERGES.index(merge))
                chunk = chunk[len(merge) :]
            else:
                tokens += [1000 + byte for byte in chunk[0].encode()]
                chunk = chunk[1:]
    return tokens


def logits_after(held: tuple[int, ...], tokens: Sequence[int]) -> list[float]:
    """Pseudo-random logits of `tokens`, given all that the sequence holds."""
    state = hash(held)
    return [hash((state, token)) % 997 / 100 for token in tokens]


def states_of(held: tuple[int, ...], wanted: Sequence[int]) -> Any:
    """Pseudo-random hidden states [wanted, WIDTH], given all that the sequence holds."""
    return np.array(
        [[hash((held, index, i)) % 997 / 100 - 5 for i in range(WIDTH)] for index in wanted],
        np.float32,
    )


class StubModel(LlamaModel):
    """Logits are a hash of all that a sequence holds."""

    def __init__(self, batch_size: int, prefix: Sequence[int] = (), context: int = 1000) -> None:
        # Not super().__init__, which loads a file.
        self.batch_size = batch_size
        self.context_size = self.trained_context = context
        self.sequences = 9
        self._process = os.getpid()
        self.memory: dict[int, list[int]] = {0: list(prefix)}
        self.rows: list[tuple[int, ...]] = []

    def check_usable(self) -> None:
        pass

    def tokenize(self, text: str, *, special: bool = False, start: bool = False) -> list[int]:
        return tokenize(text)

    def decode(self, runs: Sequence[Run], *, whole: bool = False) -> list[dict[int, int]]:
        assert 0 < sum(len(run.tokens) for run in runs) <= self.batch_size
        self.rows, result = [], []
        for run in runs:
            held = self.memory.setdefault(run.sequence, [])
            assert run.position == len(held)
            held.extend(run.tokens)
            row_of = {}
            for index in run.wanted:
                row_of[index] = len(self.rows)
                self.rows.append(tuple(held[: run.position + index + 1]))
            result.append(row_of)
        assert sum(map(len, self.memory.values())) <= self.context_size + 1000
        return result

    def read(self, runs: Sequence[Run], *, depth: int | None = None) -> list[Any]:
        """States that depend on every token of the sentence, those to the right included."""
        assert 0 < sum(len(run.tokens) for run in runs) <= self.batch_size
        states = []
        for run in runs:
            held = self.memory.setdefault(run.sequence, [])
            assert run.position == len(held)
            held.extend(run.tokens)
            states.append(states_of(tuple(held), run.wanted))
        return states

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return logits_after(self.rows[row], tokens)

    def all_logits(self, row: int) -> Any:
        return np.array(logits_after(self.rows[row], range(10)))

    def check_head(self, row: int) -> None:
        pass

    def share(self, source: int, target: int) -> None:
        self.memory[target] = list(self.memory[source])

    def forget(self, sequence: int, position: int) -> None:
        del self.memory[sequence][position:]

    def close(self) -> None:
        pass
