"""Each family of models gives the same tokens and logits as in transformers."""

from typing import Any

import numpy as np
import pytest
from exporting import export_model
from tiny_models import (
    TEXTS,
    gguf_logits,
    gguf_tokens,
    load_model,
    logits,
    save_adapter,
    save_model,
    save_tokenizer,
)
from tokenizers import Tokenizer

from ner_edge.errors import ModelError
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, tuple[str, str | None, dict[str, Any]]] = {
    "smollm2": ("llama", "smollm", {"tied": True}),
    "llama 3.x": ("llama", "llama-bpe", {"tied": False, "rope_parameters": LLAMA3_ROPE}),
    "mistral": ("mistral", "tekken", {"tied": False, "sliding_window": None, "head_dim": 32}),
    "qwen2 tied": ("qwen2", "qwen2", {"tied": True}),
    "qwen2 untied": ("qwen2", "qwen2", {"tied": False}),
    "gemma3": ("gemma3_text", None, {"tied": True}),
    "qwen3": ("qwen3", "qwen2", {"tied": True}),  # heads 128 wide unless told otherwise
}


def with_gelu_of_ggml(model):
    """On a CPU, ggml looks GELU up in a table of float16."""
    for mlp in (module for module in model.modules() if hasattr(module, "act_fn")):
        if "gelu" in type(mlp.act_fn).__name__.lower():
            gelu = mlp.act_fn.forward
            mlp.act_fn.forward = lambda x, gelu=gelu: gelu(x.half().float()).half().float()
    return model


LIMITS = {"gemma3": 5e-3}  # a last digit may decide which entry of that table is next


@pytest.mark.parametrize("family", FAMILIES)
def test_same_tokens_and_same_logits(family, tmp_path):
    architecture, pre, settings = FAMILIES[family]
    base = save_model(tmp_path / "base", architecture, **settings)
    if pre:
        save_tokenizer(base, pre)
    adapter = save_adapter(tmp_path / "ner", base)
    plain = with_gelu_of_ggml(load_model(base))
    both = with_gelu_of_ggml(load_model(base, adapter))
    (merged,) = export_model(base, adapter, tmp_path, ["f32"])
    (alone,) = export_model(base, None, tmp_path, ["f32"])
    (again,) = export_model(alone, adapter, tmp_path, ["f32"], name="from-gguf")
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert gguf_tokens(merged, text) == ids
    ids = [3 + i % 200 for i in range(100)]
    reference = logits(both, ids)
    assert np.abs(reference - logits(plain, ids)).max() > 0.5
    limit = LIMITS.get(family, 5e-4)
    assert np.abs(gguf_logits(merged, ids) - reference).max() < limit
    assert np.abs(gguf_logits(again, ids) - reference).max() < limit
    assert np.abs(gguf_logits(alone, ids) - logits(plain, ids)).max() < limit


def test_mistral_ends_where_its_window_does(tmp_path):
    base = save_model(tmp_path / "base", "mistral", sliding_window=40)
    (path,) = export_model(base, None, tmp_path, ["f32"])
    assert describe(path).architecture == "llama"
    assert GGUFFile(path).get("llama.context_length") == 40
    ids = [3 + i % 200 for i in range(40)]
    assert np.abs(gguf_logits(path, ids) - logits(load_model(base), ids)).max() < 5e-4


def test_norms_of_heads_in_another_family_are_refused(tmp_path):
    base = save_model(tmp_path / "base", "qwen3", head_dim=16)
    config = base / "config.json"
    config.write_text(config.read_text().replace('"qwen3"', '"qwen2"'))
    with pytest.raises(ModelError, match=r"not qwen2 tensors: .*layers\.0\.self_attn\.k_norm"):
        export_model(base, None, tmp_path, ["f32"])
