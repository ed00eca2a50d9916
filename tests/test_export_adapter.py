"""Adapters that cannot be merged are refused, and a GGUF LoRA computes the same as merging."""

import json

import numpy as np
import pytest
from exporting import export_model
from safetensors.numpy import load_file, save_file
from tiny_models import gguf_logits, load_model, logits, save_adapter, save_model

from ner_edge.errors import ModelError
from ner_edge.export.lora_gguf import export_adapter
from ner_edge.gguf.metadata import describe
from ner_edge.gguf.row_order import permute_rows
from ner_edge.task import load_task

IDS = [5, 60, 300, 7, 299, 12, 200, 33]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("base") / "llama")


def change_config(adapter, **settings):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_permutation_interleaves_the_halves_of_each_head():
    rows = np.arange(8, dtype=np.float32).reshape(8, 1)
    assert permute_rows(rows, 2).ravel().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert permute_rows(rows, 1).ravel().tolist() == [0, 4, 1, 5, 2, 6, 3, 7]


def test_adapter_for_another_shape_names_the_tensors(base, tmp_path):
    other = save_model(tmp_path / "other", hidden_size=128, intermediate_size=192)
    adapter = save_adapter(tmp_path / "ner", other)
    with pytest.raises(ModelError) as caught:
        export_model(base, adapter, tmp_path, ["f16"])
    message = str(caught.value)
    assert "14 of its tensors do not" in message
    assert "model.layers.0.mlp.down_proj (changes (128, 192), the base's weight is (64, 96))" in (
        message
    )
    assert message.endswith("and 6 more")


def test_adapter_for_more_layers_names_the_modules(base, tmp_path):
    other = save_model(tmp_path / "other", num_hidden_layers=3)
    adapter = save_adapter(tmp_path / "ner", other, target_modules=["q_proj", "v_proj"])
    with pytest.raises(ModelError, match=r"layers\.2\.self_attn\.q_proj \(the base has no such"):
        export_model(base, adapter, tmp_path, ["f16"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"use_dora": True}, "cannot merge an adapter with use_dora"),
        ({"bias": "all", "fan_in_fan_out": True}, "fan_in_fan_out, bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights=pissa"),
        ({"peft_type": "IA3"}, "peft type 'IA3'"),
        ({"lora_alpha": None}, "not a LoRA configuration"),
    ],
)
def test_more_than_plain_lora_is_refused(settings, message, base, tmp_path):
    adapter = save_adapter(tmp_path / "ner", base)
    change_config(adapter, **settings)
    with pytest.raises(ModelError, match=message):
        export_model(base, adapter, tmp_path, ["f16"])


def test_untrained_adapter_changes_nothing(base, tmp_path):
    adapter = save_adapter(tmp_path / "ner", base)
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({k: v * 0 if "lora_B" in k else v for k, v in tensors.items()}, path)
    with pytest.raises(ModelError, match="changes nothing"):
        export_model(base, adapter, tmp_path, ["f16"])


def test_damaged_or_missing_weights(base, tmp_path):
    adapter = save_adapter(tmp_path / "ner", base)
    path = adapter / "adapter_model.safetensors"
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged or incomplete safetensors file"):
            export_model(base, adapter, tmp_path, ["f16"])
    path.rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"contains no adapter_model\.safetensors; a \.bin file"):
        export_model(base, adapter, tmp_path, ["f16"])
    with pytest.raises(ModelError, match="not an adapter"):
        export_model(base, tmp_path, tmp_path, ["f16"])


def test_embedding_lora_is_refused(base, tmp_path):
    adapter = save_adapter(tmp_path / "ner", base, target_modules=["embed_tokens", "q_proj"])
    with pytest.raises(ModelError, match=r"lora_embedding_A.* \(not a LoRA weight\)"):
        export_model(base, adapter, tmp_path, ["f16"])


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("llama", {}),
        ("llama", {"use_rslora": True}),
        ("llama", {"alpha_pattern": {"q_proj": 40}}),
        ("qwen2", {}),
    ],
)
def test_gguf_lora_over_its_base_is_the_merged_model(architecture, settings, tmp_path):
    folder = save_model(tmp_path / "base", architecture)
    adapter = save_adapter(tmp_path / "ner", folder, **settings)
    (base_gguf,) = export_model(folder, None, tmp_path, ["f32"])
    task = load_task("conll2003")
    lora = export_adapter(base_gguf, adapter, tmp_path / "out" / "ner.gguf", task)
    reference = logits(load_model(folder, adapter), IDS)
    assert np.abs(gguf_logits(base_gguf, IDS, lora) - reference).max() < 1e-4
    assert describe(lora).task == task
    assert [path.name for path in lora.parent.iterdir()] == ["ner.gguf"]


def test_gguf_lora_is_no_base_and_needs_its_own(base, tmp_path):
    adapter = save_adapter(tmp_path / "ner", base, target_modules=["lm_head", "q_proj"])
    (base_gguf,) = export_model(base, None, tmp_path, ["f32"])
    with pytest.raises(ModelError, match="adapts lm_head"):
        export_adapter(base_gguf, adapter, tmp_path / "a.gguf", None)
    plain = save_adapter(tmp_path / "plain", base)
    lora = export_adapter(base_gguf, plain, tmp_path / "a.gguf", None)
    with pytest.raises(ModelError, match="type 'adapter', not a model"):
        export_model(lora, None, tmp_path, ["f16"])
