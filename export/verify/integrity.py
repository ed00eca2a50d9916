"""Check in one pass over a model file that it is complete and all its weights are finite."""

import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from gguf import GGML_QUANT_SIZES

from ner_edge.errors import ModelError
from ner_edge.export.describe.manifest import CheckResult
from ner_edge.gguf.file import GGUFFile, TensorInfo

_BLOCK = 1 << 22  # bytes read at a time


class Integrity(NamedTuple):
    """The SHA-256 of a file, and the check that its weights are finite."""

    sha256: str
    finite: CheckResult


def check_integrity(
    path: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Integrity:
    """Read a GGUF file once from start to end, a few megabytes at a time.

    Weights are validated in their stored type by ggml (`ggml_validate_row_data`). `progress` gets
    the tensors read and their total. Raises `ModelError` if the file is incomplete.
    """
    tensors = sorted(GGUFFile(path).tensors.values(), key=lambda info: info.offset)
    digest = hashlib.sha256()
    broken = None
    with path.open("rb") as file:
        for done, info in enumerate(tensors):
            progress(done, len(tensors))
            digest.update(file.read(info.offset - file.tell()))
            for rows in _rows(file, info):
                digest.update(rows)
                if broken is None and not _is_finite(info, rows):
                    broken = info.name
        digest.update(file.read())
    progress(len(tensors), len(tensors))
    if broken is None:
        finite = CheckResult("finite", True, f"all weights of {len(tensors)} tensors")
    else:
        finite = CheckResult("finite", False, f"{broken} contains NaN or infinite values")
    return Integrity(digest.hexdigest(), finite)


def _rows(file: BinaryIO, info: TensorInfo) -> Iterator[bytes]:
    """The bytes of a tensor, in pieces that do not cut a block of weights."""
    block_bytes = GGML_QUANT_SIZES[info.type][1]
    left = info.nbytes
    while left:
        rows = file.read(min(left, _BLOCK // block_bytes * block_bytes))
        if not rows:
            raise ModelError(f"{file.name}: changed while it was being read")
        yield rows
        left -= len(rows)


def _is_finite(info: TensorInfo, rows: bytes) -> bool:
    with _silence():
        return bool(_validate()(int(info.type), rows, len(rows)))


@contextmanager
def _silence() -> Iterator[None]:
    """Hide what ggml prints to standard error directly, bypassing its log callback."""
    try:
        kept = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        os.close(sink)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@cache
def _validate() -> Any:
    from llama_cpp._ggml import libggml

    function = libggml["ggml_validate_row_data"]
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    function.restype = ctypes.c_bool
    return function
