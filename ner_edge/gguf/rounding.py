"""Round weights to a quantization type and back, as ggml does."""

import ctypes
from functools import cache
from typing import Any

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
from numpy.typing import NDArray


def round_trip(
    weights: NDArray[np.float32],
    kind: GGMLQuantizationType,
    importance: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Quantize `weights`, [rows, columns], with ggml and dequantize them.

    `importance`, [columns], weights the rounding error of each column. Raises `ValueError` if it is
    missing and `needs_importance`.
    """
    rows, columns = weights.shape
    block, block_bytes = GGML_QUANT_SIZES[kind]
    assert columns % block == 0
    quantized = np.empty((rows, columns // block * block_bytes), np.uint8)
    source = np.ascontiguousarray(weights, np.float32)
    if importance is not None:
        assert importance.shape == (columns,)
        importance = np.ascontiguousarray(importance, np.float32)
    elif needs_importance(kind):
        raise ValueError(f"{kind.name} needs an importance matrix")
    _functions().ggml_quantize_chunk(
        int(kind),
        source.ctypes.data,
        quantized.ctypes.data,
        0,
        rows,
        columns,
        None if importance is None else importance.ctypes.data,
    )
    return np.asarray(dequantize(quantized, kind), np.float32)


def needs_importance(kind: GGMLQuantizationType) -> bool:
    """Whether ggml aborts when it quantizes to `kind` without an importance matrix."""
    return bool(_functions().ggml_quantize_requires_imatrix(int(kind)))


@cache
def _functions() -> Any:
    from llama_cpp._ggml import libggml

    number, pointer = ctypes.c_int64, ctypes.c_void_p
    chunk = libggml.ggml_quantize_chunk
    chunk.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]
    chunk.restype = ctypes.c_size_t
    libggml.ggml_quantize_requires_imatrix.argtypes = [ctypes.c_int]
    libggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    return libggml
