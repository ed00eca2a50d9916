"""Let llama.cpp multiply by AMX where its kernels work, and keep it from them elsewhere.

As released, they end the process by an illegal instruction (ggml-org/llama.cpp#20824): ggml
configures the tiles of a thread once, though other libraries, such as PyTorch's oneDNN, release
them later, and gcc 12 removes most of the configuration, since its intrinsic claims to read 8 of
the 64 bytes. `scripts/llama-amx.patch` mends the kernels when llama.cpp is compiled, and marks the
library. llama.cpp uses them for weights in its "extra buffers". It has other kernels for every
processor, so a model runs without them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp

from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.widen import is_widened, write_widened

_MARKER = b"AMX mended for ner-edge"
_MOST_WIDENED = 500_000_000  # bytes of a file; while it is loaded, it takes three times as many


def avoid_broken_amx() -> None:
    """Unless the AMX kernels are mended, make `llama_model_default_params`, which
    `llama_cpp.Llama` calls too, select none."""
    if not _has_amx() or _mended():
        return
    modules: list[Any] = [llama_cpp, llama_cpp.llama_cpp]
    for module in modules:
        defaults = module.llama_model_default_params
        if not hasattr(defaults, "without_amx"):
            module.llama_model_default_params = _without_amx(defaults)


@contextmanager
def readable_by_amx(path: Path) -> Iterator[Path]:
    """Yield a file with the weights of `path` in types that AMX kernels exist for: `path` itself,
    or one in memory, which vanishes at the end."""
    if not (_has_amx() and _mended()) or path.stat().st_size > _MOST_WIDENED:
        yield path
        return
    model = GGUFFile(path)
    if not any(map(is_widened, model.tensors.values())):
        yield path
        return
    with open(os.memfd_create(path.name[:100]), "wb") as file:
        write_widened(model, file)
        file.flush()
        yield Path(f"/proc/self/fd/{file.fileno()}")


def _has_amx() -> bool:
    return b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info()


def _mended() -> bool:
    return is_mended(Path(llama_cpp.llama_cpp._lib._name).parent)


@cache
def is_mended(folder: Path) -> bool:
    """Whether every CPU library of ggml in `folder` is marked as mended."""
    libraries = list(folder.glob("libggml-cpu*.so"))
    return bool(libraries) and all(_MARKER in path.read_bytes() for path in libraries)


def _without_amx(defaults: Callable[[], Any]) -> Callable[[], Any]:
    def safe_defaults() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    safe_defaults.without_amx = True  # type: ignore[attr-defined]
    return safe_defaults
