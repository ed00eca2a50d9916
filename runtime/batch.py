"""Tokens for one evaluation by llama.cpp."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Run:
    """Tokens to append to one sequence; `wanted` are the indices whose logits are needed."""

    sequence: int
    position: int
    tokens: Sequence[int]
    wanted: Sequence[int]


class Batch:
    """A `llama_batch` over numpy arrays, which takes a run in a few assignments."""

    def __init__(self, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        pointers: Any = (ctypes.POINTER(ctypes.c_int32) * size)()
        for i in range(size):
            address = self._sequences.ctypes.data + 4 * i
            pointers[i] = ctypes.cast(address, ctypes.POINTER(ctypes.c_int32))
        self._pointers = pointers
        self.struct = llama_cpp.llama_batch()
        self.struct.token = _pointer(self._tokens, ctypes.c_int32)
        self.struct.pos = _pointer(self._positions, ctypes.c_int32)
        self.struct.n_seq_id = _pointer(self._counts, ctypes.c_int32)
        self.struct.seq_id = pointers
        self.struct.logits = _pointer(self._wanted, ctypes.c_int8)

    def fill(self, runs: Sequence[Run]) -> list[dict[int, int]]:
        """Replace the contents. Returns, for each run, its wanted indices with their rows."""
        rows = []
        start = 0
        for run in runs:
            end = start + len(run.tokens)
            self._tokens[start:end] = run.tokens
            self._positions[start:end] = np.arange(run.position, run.position + end - start)
            self._sequences[start:end] = run.sequence
            self._wanted[start:end] = 0
            rows.append({index: start + index for index in run.wanted})
            for row in rows[-1].values():
                self._wanted[row] = 1
            start = end
        self.struct.n_tokens = start
        return rows


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
