"""Read the values inside a running evaluation, through llama.cpp's eval callback.

ggml-backend.h documents the callback: the scheduler asks whether a node is wanted, computes the
graph up to it, and passes it to the callback; "if the user returns false, the scheduler will cancel
the graph compute".
"""

import ctypes
from collections.abc import Callable
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml
from numpy.typing import NDArray


class NodeReader:
    """Passes each node whose name is `wanted` to `see(name, values)`, with values [rows, width].

    `see` returns whether to go on. `callback` is the `cb_eval` of a context's parameters; it must
    outlive the context.
    """

    def __init__(
        self, wanted: Callable[[str], bool], see: Callable[[str, NDArray[np.float32]], bool]
    ) -> None:
        self._wanted = wanted
        self._see = see
        self._error: Exception | None = None
        self._name = _function("ggml_get_name", ctypes.c_char_p)
        self._rows = _function("ggml_nrows", ctypes.c_int64)
        self._nbytes = _function("ggml_nbytes", ctypes.c_size_t)
        self._read = _function(
            "ggml_backend_tensor_get", None, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t
        )
        self.callback = llama_cpp.ggml_backend_sched_eval_callback(self._observe)

    def _observe(self, tensor: int, ask: bool, user_data: Any) -> bool:
        name = self._name(tensor).decode("utf-8", "replace")
        if ask:
            return self._wanted(name)
        size = self._nbytes(tensor)
        values = np.empty(size // 4, np.float32)
        self._read(tensor, values.ctypes.data, 0, size)
        rows = self._rows(tensor)
        try:
            return self._see(name, values.reshape(rows, values.size // max(1, rows)))
        except Exception as error:  # ctypes would print and drop it
            self._error = error
            return False

    def raise_error(self) -> None:
        """After an evaluation, raise the exception that `see` raised, if any."""
        error, self._error = self._error, None
        if error:
            raise error


def nodes_can_be_read() -> bool:
    """Whether the library exports the functions that `NodeReader` calls; on Windows it does not."""
    return hasattr(libggml, "ggml_backend_tensor_get")


def _function(name: str, result: Any, *more: Any) -> Any:
    function = libggml[name]  # a new object, so that its types are ours
    function.restype = result
    function.argtypes = [ctypes.c_void_p, *more]
    return function
