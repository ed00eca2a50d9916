"""Quantization levels by name."""

import llama_cpp
import pytest

from ner_edge.errors import UsageError
from ner_edge.export.quants import QUANTS, parse_quants, quant_table
from ner_edge.facts import file_type_name


def test_every_number_is_llama_cpps():
    for quant in QUANTS.values():
        kind = "ALL" if quant.name == "f32" else "MOSTLY"
        assert quant.file_type == getattr(llama_cpp, f"LLAMA_FTYPE_{kind}_{quant.name.upper()}")
        assert file_type_name(quant.file_type) == quant.name
    assert file_type_name(None) == "unknown"


def test_names_in_any_case_each_once():
    assert [q.name for q in parse_quants(["Q4_K_M", " q8_0", "q4_k_m"])] == ["q4_k_m", "q8_0"]


@pytest.mark.parametrize("names", [["q4_k_m", "q4"], []])
def test_wrong_name_prints_the_table(names):
    with pytest.raises(UsageError) as caught:
        parse_quants(names)
    assert quant_table() in str(caught.value)
    assert all(name in str(caught.value) for name in QUANTS)


def test_imatrix_levels_are_refused_by_name():
    with pytest.raises(UsageError, match="iq2_xs needs an importance matrix"):
        parse_quants(["q8_0", "iq2_xs"])
