"""bfloat16 where the processor has no instructions for it."""

import pytest
import torch

from ner_edge.hf import bfloat16
from ner_edge.hf.bfloat16 import is_slow_on_cpu, multiply_in_float32
from ner_edge.train import start
from ner_edge.train.settings import TrainSettings


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_in_float32_is_the_exact_one_rounded_once(bias):
    torch.manual_seed(0)
    layer = torch.nn.Linear(300, 200, bias=bias).bfloat16()
    x = torch.randn(3, 50, 300).bfloat16()
    exact = torch.nn.functional.linear(
        x.double(), layer.weight.double(), layer.bias.double() if bias else None
    )
    multiply_in_float32(torch.nn.Sequential(layer))
    with torch.inference_mode():
        found = layer(x)
    assert found.dtype == layer.weight.dtype == torch.bfloat16
    # Half a unit of bfloat16's eight bits, and float32's own error of sums that nearly cancel.
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-5)


def test_slow_means_more_than_twice_the_time(monkeypatch):
    seconds = {torch.bfloat16: 2.1, torch.float32: 1.0}
    monkeypatch.setattr(bfloat16, "_seconds", seconds.get)
    assert is_slow_on_cpu.__wrapped__()
    seconds[torch.bfloat16] = 1.9
    assert not is_slow_on_cpu.__wrapped__()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has them")
@pytest.mark.parametrize(("slow", "dtype"), [(True, "float32"), (False, "bfloat16")])
def test_training_takes_the_precision_that_is_quick_here(monkeypatch, slow, dtype):
    monkeypatch.setattr(start, "is_slow_on_cpu", lambda: slow)
    assert start.with_dtype(TrainSettings()).dtype == dtype
    for definite in ("bfloat16", "float32"):
        assert start.with_dtype(TrainSettings(dtype=definite)).dtype == definite
