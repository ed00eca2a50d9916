"""Exported real models give the same next-token distributions as torch on real prompts."""

import os
from pathlib import Path

import numpy as np
import pytest
from exporting import export_model
from tiny_models import add_adapter, gguf_logits, gguf_tokens, load_model, logits

from ner_edge.export.lora_gguf import export_adapter
from ner_edge.export.verify import parity

pytestmark = pytest.mark.model

SENTENCES = [
    "Marta Kowalska left Nordwind Systems in Rotterdam on 12 March 2019 .",
    "The Andean Council said on Thursday it had asked Peru for 1,250 tonnes of maize .",
    "`` We do n't know yet , '' said coach Ibrahim Diallo after the 3-1 win over Lyon .",
]


def check_against_torch(base: Path, folder: Path, f16_limits: tuple[float, float]) -> None:
    """Compare distributions: equal in float32, which proves the conversion, and within `f16_limits`
    in float16. These limits, of a probability difference and of the mean KL divergence in nats,
    depend on how large the activations of a family grow."""
    adapter = folder / "ner"
    model = add_adapter(load_model(base), adapter, r=8, lora_alpha=4)
    (f32, f16) = export_model(base, adapter, folder, ["f32", "f16"])
    (plain,) = export_model(base, None, folder, ["f16"], name="plain")
    lora = export_adapter(plain, adapter, folder / "lora.gguf")
    for sentence in SENTENCES:
        ids = gguf_tokens(f16, f"### Task:\n{sentence}\n\n### Response:\n{sentence}")
        expected = parity.distributions(logits(model, ids))
        for name, actual, limits in (
            ("f32", gguf_logits(f32, ids), (1e-3, 1e-4)),
            ("f16", gguf_logits(f16, ids), f16_limits),
            ("f16 and LoRA", gguf_logits(plain, ids, lora), f16_limits),
        ):
            found = parity.compare_distributions(parity.distributions(actual), expected)
            print(f"{name}: probability {found[0]:.1e}, KL {found[1]:.1e}")
            assert found[0] < limits[0]
            assert found[1] < limits[1]
        base_only = parity.distributions(gguf_logits(plain, ids))
        assert np.abs(base_only - expected).max() > 0.05, "the adapter matters"


def test_smollm2(base_gguf, tmp_path):
    check_against_torch(base_gguf, tmp_path, (0.01, 1e-3))


def test_qwen(tmp_path):
    path = os.environ.get("NER_EDGE_TEST_QWEN")
    if not path:
        pytest.skip("NER_EDGE_TEST_QWEN names no GGUF of a qwen2 model")
    check_against_torch(Path(path), tmp_path, (0.1, 0.1))  # measured: 0.064 and 0.049
