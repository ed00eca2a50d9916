"""Keep llama.cpp from using its AMX kernels, which crash (ggml-org/llama.cpp#20824).

ggml fills in a 64-byte tile configuration and passes it to an intrinsic. gcc 12 assumes that the
intrinsic reads only the first 8 bytes and optimizes the other stores away; loading the garbage that
is left on the stack crashes the process. llama.cpp uses these kernels for weights in its "extra
buffers". It has other kernels for every processor, so a model runs without them.
"""

from collections.abc import Callable
from typing import Any

import llama_cpp


def avoid_amx() -> None:
    """Make `llama_model_default_params`, which `llama_cpp.Llama` calls too, select no AMX."""
    if b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info():
        return
    modules: list[Any] = [llama_cpp, llama_cpp.llama_cpp]
    for module in modules:
        defaults = module.llama_model_default_params
        if not hasattr(defaults, "without_amx"):
            module.llama_model_default_params = _without_amx(defaults)


def _without_amx(defaults: Callable[[], Any]) -> Callable[[], Any]:
    def safe_defaults() -> Any:
        parameters = defaults()
        parameters.use_extra_bufts = False
        return parameters

    safe_defaults.without_amx = True  # type: ignore[attr-defined]
    return safe_defaults
