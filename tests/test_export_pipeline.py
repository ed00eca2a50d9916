"""An exported file computes what torch computes, and appears whole or not at all."""

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from exporting import export_model
from tiny_models import gguf_logits, load_model, logits, save_adapter, save_model

from ner_edge import memory
from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.export import pipeline, write_gguf
from ner_edge.gguf.metadata import describe
from ner_edge.task import load_task

IDS = [5, 60, 300, 7, 299, 12, 200, 33]


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def base(request, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("base") / request.param, request.param)


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    return save_adapter(tmp_path_factory.mktemp("adapter") / "ner", base)


def difference(path: Path, reference: np.ndarray) -> float:
    return float(np.abs(gguf_logits(path, IDS) - reference).max())


def test_base_computes_what_torch_computes(base, tmp_path):
    f32, f16, bf16, q8_0 = export_model(base, None, tmp_path, ["f32", "F16", "bf16", "q8_0"])
    reference = logits(load_model(base), IDS)
    assert difference(f32, reference) < 1e-4
    assert difference(f16, reference) < 0.05
    assert difference(bf16, reference) < 0.3
    assert difference(q8_0, reference) < 1.5


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_untied_sharded_bf16_base(architecture, tmp_path):
    base = save_model(
        tmp_path / "base", architecture, tied=False, dtype=torch.bfloat16, max_shard_size="100KB"
    )
    assert (base / "model.safetensors.index.json").is_file()
    (f32,) = export_model(base, None, tmp_path, ["f32"])
    assert difference(f32, logits(load_model(base), IDS)) < 1e-4


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0},
        {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        },
    ],
    ids=lambda rope: rope["rope_type"],
)
def test_rope_scaling_and_biases_and_head_width(rope, tmp_path):
    base = save_model(
        tmp_path / "base",
        rope_parameters=rope,
        attention_bias=True,
        mlp_bias=True,
        head_dim=32,
    )
    ids = [3 + i % 200 for i in range(100)]
    (f32,) = export_model(base, None, tmp_path, ["f32"])
    reference = logits(load_model(base), ids)
    assert np.abs(gguf_logits(f32, ids) - reference).max() < 5e-4


def test_merged_computes_what_peft_computes(base, adapter, tmp_path):
    f32, f16 = export_model(base, adapter, tmp_path, ["f32", "f16"])
    reference = logits(load_model(base, adapter), IDS)
    assert np.abs(reference - logits(load_model(base), IDS)).max() > 0.5
    assert difference(f32, reference) < 1e-4
    assert difference(f16, reference) < 0.05


def test_gguf_base_gives_the_same_file_as_its_folder(base, adapter, tmp_path):
    (base_gguf,) = export_model(base, None, tmp_path / "base", ["f32"])
    (from_folder,) = export_model(base, adapter, tmp_path / "a", ["f32"])
    (from_gguf,) = export_model(base_gguf, adapter, tmp_path / "b", ["f32"])
    reference = gguf_logits(from_folder, IDS)
    assert np.array_equal(gguf_logits(from_gguf, IDS), reference)


def test_quantized_gguf_base_is_its_own_full_precision(base, tmp_path):
    (q4_0,) = export_model(base, None, tmp_path, ["q4_0"])
    (f32,) = export_model(q4_0, None, tmp_path, ["f32"], name="dequantized")
    # llama.cpp rounds activations too where weights are quantized
    assert difference(f32, gguf_logits(q4_0, IDS)) < 1.0


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True},
        {"alpha_pattern": {"q_proj": 40}, "rank_pattern": {"layers.1.mlp.up_proj": 2}},
        {"target_modules": ["lm_head", "q_proj"]},
    ],
    ids=["rslora", "patterns", "lm_head on tied embeddings"],
)
def test_lora_variants(settings, tmp_path):
    base = save_model(tmp_path / "base")
    adapter = save_adapter(tmp_path / "ner", base, **settings)
    (f32,) = export_model(base, adapter, tmp_path, ["f32"])
    assert difference(f32, logits(load_model(base, adapter), IDS)) < 1e-4


def test_names_task_and_metadata(base, adapter, tmp_path):
    task = load_task("conll2003")
    task.save(adapter)
    try:
        paths = export_model(base, adapter, tmp_path, ["q4_0", "q8_0", "q8_0"])
    finally:
        (adapter / "ner_edge_task.json").unlink()
    assert [path.name for path in paths] == ["ner-q4_0.gguf", "ner-q8_0.gguf"]
    manifests = [path.with_suffix(".json") for path in paths]
    assert sorted(tmp_path.iterdir()) == sorted(paths + manifests), "intermediate files are gone"
    metadata = describe(paths[0])
    assert (metadata.task, metadata.name, metadata.quant) == (task, "ner", "q4_0")
    (again,) = export_model(paths[1], None, tmp_path / "again", ["q4_0"], name="x")
    assert describe(again).task == task, "a base keeps its task"
    assert describe(again).name == "x"


def test_progress_counts_tensors(base, tmp_path):
    calls = []
    export_model(base, None, tmp_path, ["q4_0"], progress=lambda *call: calls.append(call))
    count = sum(describe(tmp_path / f"{base.name}-q4_0.gguf").tensor_types.values())
    size = (base / "model.safetensors").stat().st_size
    assert ("base", size, size) in calls, "bytes"
    assert list(dict.fromkeys(stage for stage, *_ in calls)) == ["base", "merge", "q4_0", "check"]
    for stage in ("merge", "q4_0", "check"):
        assert (stage, count, count) in calls


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "no space")])
def test_failure_leaves_nothing(error, base, tmp_path, monkeypatch):
    encoded = []

    def fail_late(weight, kind):
        encoded.append(kind)
        if len(encoded) > 5:
            raise error
        return weight.astype(np.float16) if weight.ndim > 1 else weight

    monkeypatch.setattr(write_gguf, "_encode", fail_late)
    with pytest.raises((KeyboardInterrupt, NerEdgeError)) as caught:
        export_model(base, None, tmp_path, ["f16", "q8_0"])
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "disk is full" in str(caught.value)


def fail_to_quantize(monkeypatch):
    failing = SimpleNamespace(executable=shutil.which("false"))
    monkeypatch.setattr("ner_edge.export.quantize.llama_quantize.sys", failing)


def test_failed_quantizer_leaves_no_file(base, tmp_path, monkeypatch):
    fail_to_quantize(monkeypatch)
    with pytest.raises(NerEdgeError, match=r"q4_0\.gguf: llama\.cpp cannot quantize to q4_0"):
        export_model(base, None, tmp_path, ["f16", "q4_0"], name="m")
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_up_while_llama_cpp_writes(base, tmp_path, monkeypatch):
    fail_to_quantize(monkeypatch)
    monkeypatch.setattr("ner_edge.export.quantize.llama_quantize.disk_is_full", lambda folder: True)
    with pytest.raises(NerEdgeError, match=r"q4_0\.gguf: .* q4_0: the disk is full"):
        export_model(base, None, tmp_path, ["q4_0"])
    assert list(tmp_path.iterdir()) == []


def test_memory_is_checked_before_work(base, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    monkeypatch.setattr(pipeline, "write_models", lambda *_: pytest.fail("began to write"))
    with pytest.raises(NerEdgeError, match=r"needs about 0\.4 GB of memory; 0\.0 GB are available"):
        export_model(base, None, tmp_path, ["q4_0"], threads=1)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert memory.available_memory() > 1_000_000, "known on this system"
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    export_model(base, None, tmp_path, ["f16"])


def test_never_more_than_a_slab_at_once(base, adapter, tmp_path, monkeypatch):
    (whole,) = export_model(base, adapter, tmp_path, ["f32"], name="m")
    expected = gguf_logits(whole, IDS)
    monkeypatch.setattr(write_gguf, "_SLAB", 1000)
    largest = []
    encode = write_gguf._encode

    def encode_and_measure(weight, kind):
        largest.append(weight.size)
        return encode(weight, kind)

    monkeypatch.setattr(write_gguf, "_encode", encode_and_measure)
    (parts,) = export_model(base, adapter, tmp_path, ["f32"], name="m", threads=3)
    assert max(largest) <= 1000
    assert np.abs(gguf_logits(parts, IDS) - expected).max() < 1e-4


def test_existing_file_survives_a_failure(base, tmp_path, monkeypatch):
    export_model(base, None, tmp_path, ["f16"], name="m")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2, "with its manifest"
    monkeypatch.setattr(write_gguf, "_largest_magnitude", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_model(base, None, tmp_path, ["f16"], name="m")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_full_disk_is_noticed_before_work(base, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(pipeline, "write_models", lambda *_: pytest.fail("began to write"))
    with pytest.raises(NerEdgeError, match=r"needs about 0\.\d GB of disk space; 0\.0 GB are free"):
        export_model(base, None, tmp_path, ["q8_0"])


def scaled_model(folder: Path, factor: float) -> Path:
    base = save_model(folder)
    model = load_model(base)
    with torch.no_grad():  # v and o undo each other, so the model still computes something
        model.model.layers[0].self_attn.v_proj.weight.mul_(factor)
        model.model.layers[0].self_attn.o_proj.weight.div_(factor)
    model.save_pretrained(base)
    return base


def test_weights_too_large_for_f16(tmp_path):
    base = scaled_model(tmp_path / "base", 1e6)
    with pytest.raises(ModelError, match=r"blk\.0\.attn_v\.weight contains .* range of f16; "):
        export_model(base, None, tmp_path / "out", ["f16"])
    (f32,) = export_model(base, None, tmp_path / "out", ["f32"])
    (q8_0,) = export_model(base, None, tmp_path / "out2", ["bf16", "q8_0"])[1:]
    assert describe(q8_0).quant == "q8_0"
    assert list((tmp_path / "out").glob("*.gguf")) == [f32]


def test_weights_that_are_not_finite(tmp_path):
    base = scaled_model(tmp_path / "base", float("nan"))
    message = r"base: not all merged weights of blk\.0\.attn_\w+\.weight are finite"
    with pytest.raises(ModelError, match=message):
        export_model(base, None, tmp_path / "out", ["f32"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_type": "mamba"},
            r"architecture 'mamba' .* choose one of: gemma3_text, llama, mistral, qwen2, qwen3$",
        ),
        ({"hidden_act": "gelu"}, "hidden_act gelu"),
        ({"num_hidden_layers": 3}, r"lack blk\.2\.attn_q\.weight.* and 1 more"),
        ({"vocab_size": 9}, r"token_embd\.weight is \(\d+, 64\), not \(9, 64\)"),
        ({"rope_parameters": {"rope_type": "longrope"}}, "rope scaling longrope"),
        ({"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}, "contradict"),
    ],
)
def test_unsupported_configurations(change, message, tmp_path):
    base = save_model(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=message):
        export_model(base, None, tmp_path / "out", ["f32"])


def test_bases_that_are_none(tmp_path):
    with pytest.raises(ModelError, match="no such base model"):
        export_model(tmp_path / "absent", None, tmp_path, ["f16"])
    with pytest.raises(ModelError, match=r"contains no config\.json"):
        export_model(tmp_path, None, tmp_path, ["f16"])
    (tmp_path / "a.gguf").write_bytes(b"hello, this is no model at all")
    with pytest.raises(ModelError, match="not a GGUF file"):
        export_model(tmp_path / "a.gguf", None, tmp_path, ["f16"])


def test_output_folder_that_is_a_file(base, tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(NerEdgeError, match="out: cannot be created as a folder: File exists"):
        export_model(base, None, tmp_path / "out", ["f16"])


def test_name_is_no_path(base, tmp_path):
    with pytest.raises(UsageError, match="must not contain a path"):
        export_model(base, None, tmp_path, ["f16"], name="../x")


def loaded(modules, named):
    """List the loaded modules whose names start with `named`, after `modules` were imported."""
    program = f"import sys, {modules}\nprint([m for m in sys.modules if m.startswith({named!r})])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_export_imports_no_torch():
    modules = "ner_edge.export.pipeline, ner_edge.export.lora_gguf, ner_edge.export.verify.verify"
    modules += ", ner_edge.export.verify.parity, ner_edge.gguf.metadata"
    assert loaded(modules, ("torch", "transformers", "peft", "llama_cpp", "tokenizers")) == "[]"
    assert loaded(modules, ("ner_edge.runtime.", "ner_edge.train.")) == "[]"


def test_train_imports_no_export():
    assert loaded("ner_edge.train.run", ("ner_edge.export", "ner_edge.runtime")) == "[]"
