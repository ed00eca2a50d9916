"""Is a model file whole, and are all its weights numbers? One pass over it answers both."""

import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gguf import GGML_QUANT_SIZES

from ner_edge.errors import ModelError
from ner_edge.export.describe.manifest import Check
from ner_edge.gguf.file import GGUFFile

_BLOCK = 1 << 22  # bytes read at a time


class Integrity(NamedTuple):
    """A file's SHA-256, and whether its weights are finite."""

    sha256: str
    finite: Check


def read_whole(
    path: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> Integrity:
    """Read a GGUF file once, from its first byte to its last, a few megabytes at a time.

    Weights are looked at as they are stored, by ggml, which quantizers are checked with too.
    `progress` gets tensors read and in all. Raises `ModelError` if the file is not complete.
    """
    tensors = sorted(GGUFFile(path).tensors.values(), key=lambda info: info.offset)
    digest = hashlib.sha256()
    broken = None
    with path.open("rb") as file:
        for done, info in enumerate(tensors):
            progress(done, len(tensors))
            digest.update(file.read(info.offset - file.tell()))
            item = GGML_QUANT_SIZES[info.type][1]
            left = info.nbytes
            while left:
                part = file.read(min(left, _BLOCK // item * item))
                if not part:
                    raise ModelError(f"{path}: was changed while it was read")
                digest.update(part)
                if broken is None:
                    with _silence():
                        valid = _validate()(int(info.type), part, len(part))
                    broken = None if valid else info.name
                left -= len(part)
        digest.update(file.read())
    progress(len(tensors), len(tensors))
    if broken is None:
        finite = Check("finite", True, f"all weights of {len(tensors)} tensors")
    else:
        finite = Check("finite", False, f"{broken} holds NaN or infinite values")
    return Integrity(digest.hexdigest(), finite)


@contextmanager
def _silence() -> Iterator[None]:
    """ggml says what it finds on standard error, past its own log."""
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
