"""Quantization types by name."""

import ctypes

import llama_cpp
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from llama_cpp._ggml import libggml

from ner_edge.errors import UsageError
from ner_edge.export.quantize.types import QUANTS, parse_quants, quant_table
from ner_edge.export.write_gguf import _encode
from ner_edge.gguf.metadata import file_type_name


def test_every_number_is_llama_cpps():
    for quant in QUANTS.values():
        kind = "ALL" if quant.name == "f32" else "MOSTLY"
        assert quant.file_type == getattr(llama_cpp, f"LLAMA_FTYPE_{kind}_{quant.name.upper()}")
        assert file_type_name(quant.file_type) == quant.name
    assert file_type_name(None) == "unknown"


def test_names_in_any_case_each_once():
    assert [q.name for q in parse_quants(["Q4_K_M", " q8_0", "q4_k_m"])] == ["q4_k_m", "q8_0"]


def test_wrong_name_prints_the_table():
    with pytest.raises(UsageError) as caught:
        parse_quants(["q4_k_m", "q4"])
    assert caught.value.details == quant_table()
    assert all(name in caught.value.details for name in QUANTS)


def test_types_that_need_an_imatrix_are_refused_without_one():
    with pytest.raises(UsageError, match="iq2_xs needs an importance matrix"):
        parse_quants(["q8_0", "iq2_xs"])


def llama_cpps_q8_0(weight):
    function = libggml["ggml_quantize_chunk"]
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    function.argtypes += [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    rows, width = weight.shape
    result = np.empty((rows, width // 32 * 34), np.uint8)
    kind = int(GGMLQuantizationType.Q8_0)
    function(kind, weight.ctypes.data, result.ctypes.data, 0, rows, width, None)
    return result


WEIGHTS = st.floats(-1000, 1000, width=32, allow_subnormal=False)


@given(arrays(np.float32, (3, 64), elements=WEIGHTS))
def test_our_q8_0_is_llama_cpps(weight):
    assert np.array_equal(_encode(weight, GGMLQuantizationType.Q8_0), llama_cpps_q8_0(weight))


@pytest.mark.parametrize("scale", [1e-6, 0.02, 1.0, 3e4])
def test_our_q8_0_of_many_weights_is_llama_cpps(scale):
    weight = np.random.default_rng(0).normal(0, scale, (500, 576)).astype(np.float32)
    weight[0] = 0
    assert np.array_equal(_encode(weight, GGMLQuantizationType.Q8_0), llama_cpps_q8_0(weight))
