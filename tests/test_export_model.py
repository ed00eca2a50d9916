"""Export of real models: the same next-token distributions as torch on real prompts."""

import os
from pathlib import Path

import numpy as np
import pytest
from tiny_models import add_adapter, gguf_logits, gguf_tokens, load_model, logits

from ner_edge.export.lora_gguf import export_adapter
from ner_edge.export.pipeline import export_model

pytestmark = pytest.mark.model

SENTENCES = [
    "Marta Kowalska left Nordwind Systems in Rotterdam on 12 March 2019 .",
    "The Andean Council said on Thursday it had asked Peru for 1,250 tonnes of maize .",
    "`` We do n't know yet , '' said coach Ibrahim Diallo after the 3-1 win over Lyon .",
]


def distributions(all_logits: np.ndarray) -> np.ndarray:
    exponents = np.exp(all_logits - all_logits.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def check_against_torch(base: Path, folder: Path) -> None:
    adapter = folder / "ner"
    model = add_adapter(load_model(base), adapter, r=8, lora_alpha=4)
    (f16,) = export_model(base, adapter, folder, ["f16"])
    (plain,) = export_model(base, None, folder, ["f16"], name="plain")
    lora = export_adapter(plain, adapter, folder / "lora.gguf")
    largest = 0.0
    for sentence in SENTENCES:
        ids = gguf_tokens(f16, f"### Task:\n{sentence}\n\n### Response:\n{sentence}")
        expected = distributions(logits(model, ids))
        for actual in (gguf_logits(f16, ids), gguf_logits(plain, ids, lora)):
            actual = distributions(actual)
            largest = max(largest, float(np.abs(actual - expected).max()))
            divergence = (expected * np.log((expected + 1e-12) / (actual + 1e-12))).sum(axis=-1)
            assert divergence.max() < 1e-3
        base_only = distributions(gguf_logits(plain, ids))
        assert np.abs(base_only - expected).max() > 0.05, "the adapter matters"
    print(f"{base.name}: largest difference of a probability {largest:.2e}")
    assert largest < 0.01


def test_smollm2(base_gguf, tmp_path):
    check_against_torch(base_gguf, tmp_path)


def test_qwen(tmp_path):
    path = os.environ.get("NER_EDGE_TEST_QWEN")
    if not path:
        pytest.skip("NER_EDGE_TEST_QWEN names no GGUF of a qwen2 model")
    check_against_torch(Path(path), tmp_path)
