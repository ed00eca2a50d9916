"""Let llama.cpp use its AMX kernels where they work, and turn them off elsewhere.

The released kernels crash with an illegal instruction (ggml-org/llama.cpp#20824). ggml configures
a thread's tiles once, but other libraries, such as PyTorch's oneDNN, release them later. And gcc 12
removes most of the configuration, because its intrinsic declares that it reads 8 of the 64 bytes.
`scripts/llama-amx.patch` fixes the kernels when llama.cpp is compiled, and marks the library.
llama.cpp uses AMX only for weights in its "extra buffers". Without them, a model runs on its other
kernels.
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
_MOST_WIDENED = 500_000_000  # bytes; loading a file takes three times its size in memory


def avoid_broken_amx() -> None:
    """Unless the AMX kernels are fixed, patch `llama_model_default_params`, which `llama_cpp.Llama`
    calls too, so that llama.cpp uses none."""
    if not _has_amx() or _mended():
        return
    modules: list[Any] = [llama_cpp, llama_cpp.llama_cpp]
    for module in modules:
        defaults = module.llama_model_default_params
        if not hasattr(defaults, "without_amx"):
            module.llama_model_default_params = _without_amx(defaults)


@contextmanager
def readable_by_amx(path: Path) -> Iterator[Path]:
    """Yield a file for llama.cpp to load: `path` itself, or, where AMX can be used, a copy in
    memory with q5_0 and iq4_nl widened. The copy vanishes at the end."""
    if not (_has_amx() and _mended()) or path.stat().st_size > _MOST_WIDENED:
        yield path
        return
    model = GGUFFile(path)
    if not any(map(is_widened, model.tensors.values())):
        yield path
        return
    with open(os.memfd_create("model"), "wb") as file:
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
