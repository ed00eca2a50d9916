"""The last layer of a model, for the few tokens that a decision is between.

llama.cpp multiplies every wanted state with the whole vocabulary; the copy decoder then reads two
or three of the products. Here the evaluation is stopped before that layer, and only those rows of
the output matrix are used. The projection is a fifth of the weights of a 135M model, so a position
whose logits are wanted then costs hardly more than any other.
"""

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.gguf_file import GGUFFile

_STATES = b"result_norm"  # llama.cpp's name for the input of the last layer
_REMEMBERED = 4096  # rows of the output matrix


class StateReader:
    """Takes the states out of a running evaluation, and ends it there unless told to `go_on`.

    Its `callback` goes into the context's parameters as `cb_eval`. Documented in ggml-backend.h:
    "if the user returns false, the scheduler will cancel the graph compute".
    """

    def __init__(self, width: int) -> None:
        self.go_on = True
        self.states: NDArray[np.float32] | None = None
        """One row for each wanted token, in the order of the batch: [wanted, width]."""
        self._width = width
        self._name = _function("ggml_get_name", ctypes.c_char_p)
        self._read = _function(
            "ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
        )
        self._nbytes = _function("ggml_nbytes", ctypes.c_size_t)
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._observe)

    def _observe(self, tensor: int, ask: bool, user_data: Any) -> bool:
        if ask:
            return bool(self._name(tensor) == _STATES)
        size = self._nbytes(tensor)
        states = np.empty(size // 4, np.float32)
        self._read(tensor, states.ctypes.data, 0, size)
        self.states = states.reshape(-1, self._width)
        return self.go_on


def states_can_be_read() -> bool:
    """Does the library offer what `StateReader` needs? On Windows another one holds it."""
    return hasattr(libggml, "ggml_backend_tensor_get")


def _function(name: str, result: Any, *more: Any) -> Any:
    function = libggml[name]  # a fresh object, whose types nobody else sets
    function.restype = result
    function.argtypes = [ctypes.c_void_p, *more]
    return function


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
