"""The last layer of a model, for the few tokens that a decision is between.

llama.cpp multiplies every wanted state with the whole vocabulary; the copy decoder then reads two
or three of the products. Here the evaluation is stopped before that layer, and only those rows of
the output matrix are used. The projection is a fifth of the weights of a 135M model, so a position
whose logits are wanted then costs hardly more than any other.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.runtime.nodes import NodeReader

_STATES = "result_norm"  # llama.cpp's name for the input of the last layer
_REMEMBERED = 4096  # rows of the output matrix


class StateReader:
    """Takes the states out of a running evaluation, and ends it there unless told to `go_on`."""

    def __init__(self) -> None:
        self.go_on = True
        self.states: NDArray[np.float32] | None = None
        """One row for each wanted token, in the order of the batch: [wanted, width]."""
        self.nodes = NodeReader(lambda name: name == _STATES, self._see)

    def _see(self, name: str, values: NDArray[np.float32]) -> bool:
        self.states = values
        return self.go_on


class OutputHead:
    """The output matrix of a GGUF file, read row by row."""

    def __init__(self, file: GGUFFile) -> None:
        tied = "output.weight" not in file.tensors
        name = "token_embd.weight" if tied else "output.weight"
        if name not in file.tensors:
            raise ModelError(f"{file.path}: holds no output matrix")
        self.vocabulary_size, self.width = file.tensors[name].shape

        @lru_cache(_REMEMBERED)
        def row(token: int) -> NDArray[np.float32]:
            return file.rows(name, token, token + 1).ravel()

        self._row = row

    def logits(self, state: NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
        """Logits of `tokens` after a token that left the model in `state`, [width]."""
        return [float(self._row(token) @ state) for token in tokens]

    def agrees(self, state: NDArray[np.float32], logits: NDArray[np.float32]) -> bool:
        """Are llama.cpp's `logits` of the whole vocabulary those of `state`?

        They are not where a model scales, clips or shifts its logits. llama.cpp rounds states to 8
        bits before it multiplies, so a small difference is no sign of that.
        """
        tokens = range(0, self.vocabulary_size, max(1, self.vocabulary_size // 256))
        theirs = logits[list(tokens)]
        ours = np.array(self.logits(state, tokens), np.float32)
        spread = float(np.linalg.norm(theirs - theirs.mean()))
        return bool(np.linalg.norm(ours - theirs) <= 0.1 * spread)
