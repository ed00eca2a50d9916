"""Keep llama.cpp from using AMX kernels that crash (ggml-org/llama.cpp#20824).

ggml configures the tiles of a thread once, though other libraries, such as PyTorch's oneDNN,
release them later. gcc 12 removes most of the configuration, since its intrinsic claims to read 8
of the 64 bytes. The process then ends by an illegal instruction. llama.cpp uses these kernels for
weights in its "extra buffers". It has other kernels for every processor, so a model runs without
them.

`scripts/llama-amx.patch` mends the kernels when llama.cpp is compiled, and marks the library.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp

_MARKER = b"AMX mended for ner-edge"


def avoid_broken_amx() -> None:
    """Unless the AMX kernels are mended, make `llama_model_default_params`, which
    `llama_cpp.Llama` calls too, select none."""
    if b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info():
        return
    if is_mended(Path(llama_cpp.llama_cpp._lib._name).parent):
        return
    modules: list[Any] = [llama_cpp, llama_cpp.llama_cpp]
    for module in modules:
        defaults = module.llama_model_default_params
        if not hasattr(defaults, "without_amx"):
            module.llama_model_default_params = _without_amx(defaults)


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
