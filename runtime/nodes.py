"""See the values inside a running evaluation, through llama.cpp's eval callback.

Documented in ggml-backend.h: the scheduler asks of each node whether it is wanted, computes up to
it, shows it, and "if the user returns false, the scheduler will cancel the graph compute".
"""

import ctypes
from collections.abc import Callable
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp._ggml import libggml
from numpy.typing import NDArray


class NodeReader:
    """Shows the nodes whose name is `wanted`: `see(name, values)` gets [rows, width] of each, and
    returns whether to go on.

    Its `callback` goes into a context's parameters as `cb_eval`; it must outlive the context.
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
        except Exception as error:  # which ctypes would print and drop
            self._error = error
            return False

    def raise_error(self) -> None:
        """Raise what `see` has raised, after the evaluation."""
        error, self._error = self._error, None
        if error:
            raise error


def nodes_can_be_read() -> bool:
    """Does the library offer what `NodeReader` needs? On Windows another one holds it."""
    return hasattr(libggml, "ggml_backend_tensor_get")


def _function(name: str, result: Any, *more: Any) -> Any:
    function = libggml[name]  # a fresh object, whose types nobody else sets
    function.restype = result
    function.argtypes = [ctypes.c_void_p, *more]
    return function
