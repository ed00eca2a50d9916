"""Keeping llama.cpp from its AMX kernels, which crash (ggml-org/llama.cpp#20824).

ggml writes their tile configuration, 64 bytes, and hands it to an intrinsic of which gcc 12
believes that it reads the first 8. The other stores are optimized away, and loading what lies on
the stack instead is a fault that ends the process. llama.cpp takes these kernels for weights in its
"extra buffers", which a model can do without: its other kernels serve any processor.
"""

from collections.abc import Callable
from typing import Any

import llama_cpp


def avoid_amx() -> None:
    """Have `llama_model_default_params`, which `llama_cpp.Llama` asks too, select no AMX."""
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
