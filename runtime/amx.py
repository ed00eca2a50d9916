"""Keep llama.cpp from using AMX kernels that crash (ggml-org/llama.cpp#20824).

ggml fills in a 64-byte tile configuration and passes it to an intrinsic. gcc 12 assumes that the
intrinsic reads only the first 8 bytes and optimizes the other stores away; loading the garbage that
is left on the stack crashes the process. llama.cpp uses these kernels for weights in its "extra
buffers". It has other kernels for every processor, so a model runs without them.

`scripts/llama.cmake` compiles the kernels without that optimization.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp

_MENDED_BY = b"-fno-tree-dse"  # a switch that the library records


def avoid_broken_amx() -> None:
    """Unless the AMX kernels are compiled correctly, make `llama_model_default_params`, which
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
    """Whether the library in `folder` records that its kernels are compiled correctly."""
    libraries = list(folder.glob("libggml-cpu*.so"))
    return bool(libraries) and all(_MENDED_BY in path.read_bytes() for path in libraries)


def _without_amx(defaults: Callable[[], Any]) -> Callable[[], Any]:
    def safe_defaults() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    safe_defaults.without_amx = True  # type: ignore[attr-defined]
    return safe_defaults
