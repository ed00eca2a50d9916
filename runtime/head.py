"""The output layer of a model, computed only for the candidates of a decision.

llama.cpp multiplies every wanted state by the rows of the whole vocabulary, of which the copy
decoder needs two or three. `StateReader` stops the evaluation before that layer, and `OutputHead`
multiplies only the rows needed. The layer has a fifth of the weights of a 135M model; without it, a
position whose logits are wanted takes barely more time than any other.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.runtime.nodes import NodeReader

# llama.cpp's names for the input of the output layer, and for the output of a layer before it.
_STATES, _AFTER_LAYER = "result_norm", "l_out-{}"
_REMEMBERED = 4096  # rows of the output matrix


class StateReader:
    """Reads the hidden states of an evaluation, and stops it there unless `go_on`."""

    def __init__(self) -> None:
        self.go_on = True
        self.states: NDArray[np.float32] | None = None
        """In the order of the batch, [tokens, width]: of the wanted tokens after the final norm, of
        all tokens after a layer before it."""
        self._node = _STATES
        self.nodes = NodeReader(lambda name: name == self._node, self._see)

    def expect(self, *, depth: int | None = None, go_on: bool) -> None:
        """Prepare for an evaluation: read the states after `depth` layers, by default after the
        final norm."""
        self.states = None
        self.go_on = go_on
        self._node = _STATES if depth is None else _AFTER_LAYER.format(depth - 1)

    def _see(self, name: str, values: NDArray[np.float32]) -> bool:
        self.states = values
        return self.go_on


class OutputHead:
    """The output matrix of a GGUF file, read row by row.

    Raises `ModelError` if the file has none.
    """

    def __init__(self, file: GGUFFile) -> None:
        tied = "output.weight" not in file.tensors
        name = "token_embd.weight" if tied else "output.weight"
        if name not in file.tensors:
            raise ModelError(f"{file.path}: contains no output matrix")
        self.vocabulary_size, self.width = file.tensors[name].shape

        @lru_cache(_REMEMBERED)
        def row(token: int) -> NDArray[np.float32]:
            return file.rows(name, token, token + 1).ravel()

        self._row = row

    def logits(self, state: NDArray[np.float32], tokens: Sequence[int]) -> list[float]:
        """Return the logits of `tokens` from a hidden state, [width]."""
        return [float(self._row(token) @ state) for token in tokens]

    def agrees(self, state: NDArray[np.float32], logits: NDArray[np.float32]) -> bool:
        """Whether llama.cpp's `logits`, [vocabulary], are those that this head computes.

        They are not if a model scales, clips or shifts its logits. Small differences are expected,
        since llama.cpp rounds states to 8 bits before it multiplies.
        """
        tokens = range(0, self.vocabulary_size, max(1, self.vocabulary_size // 256))
        theirs = logits[list(tokens)]
        ours = np.array(self.logits(state, tokens), np.float32)
        spread = float(np.linalg.norm(theirs - theirs.mean()))
        return bool(np.linalg.norm(ours - theirs) <= 0.1 * spread)
