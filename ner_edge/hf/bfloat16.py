"""bfloat16 on processors without instructions for it, where torch multiplies several times more
slowly than in float32."""

from functools import cache
from time import perf_counter
from types import MethodType
from typing import Any

import torch

_SLOWER = 2  # times; with the instructions it is faster, without them 5 to 10 times slower


@cache
def is_slow_on_cpu() -> bool:
    """Whether a product in bfloat16 takes more than twice as long as one in float32."""
    return _seconds(torch.bfloat16) > _SLOWER * _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """Return the shortest time of a few products; the first one also initializes torch."""
    x, weight = torch.ones(64, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    times = []
    for _ in range(5):
        started = perf_counter()
        torch.nn.functional.linear(x, weight)
        times.append(perf_counter() - started)
    return min(times)


def multiply_in_float32(model: torch.nn.Module) -> None:
    """Make the linear layers of a bfloat16 model multiply in float32; for inference only.

    Inputs, weights and results stay bfloat16. Each result is rounded once, as by the instructions;
    only the order of summation differs.
    """
    for layer in model.modules():
        if type(layer) is torch.nn.Linear:
            setattr(layer, "forward", MethodType(_forward, layer))  # noqa: B010


def _forward(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    bias = self.bias
    parts: list[Any] = [x.float(), self.weight.float(), bias if bias is None else bias.float()]
    return torch.nn.functional.linear(*parts).to(x.dtype)
