"""`ner-edge verify` finds what is wrong with a file, and records the checks it passed."""

import json
import shutil
import struct

import pytest
from command_line import assert_error, run, run_ok
from exporting import export_model
from tiny_models import load_model, save_adapter, save_model

from ner_edge.export.describe.manifest import read_manifest
from ner_edge.gguf.file import GGUFFile


@pytest.fixture
def model(tiny, tmp_path):
    adapter = save_adapter(tmp_path / "ner", tiny.folder)
    (path,) = export_model(tiny.folder, adapter, tmp_path, ["q8_0"], task=tiny.task)
    return path


def names(stdout):
    return [line.split(":")[0] for line in stdout.splitlines()]


def test_a_good_file_passes_and_is_put_on_record(model, tiny):
    exported = json.loads(model.with_suffix(".json").read_text())
    stdout = run_ok("verify", model, "--threads", 1, "--manifest")
    assert names(stdout) == [
        "✓ complete",
        "✓ sha256",
        "✓ finite",
        "✓ task",
        "✓ tokenizer",
        "✓ tags",
        str(model.with_suffix(".json")),
    ]
    assert "as in ner-q8_0.json" in stdout
    record = json.loads(model.with_suffix(".json").read_text())
    checks = {"finite", "merged", "tokens", "complete", "sha256", "task", "tokenizer", "tags"}
    assert set(record.pop("checks")) == checks
    assert set(exported.pop("checks")) == {"finite", "merged", "tokens"}
    assert record == exported, "what only export knows is kept"


def test_a_file_without_a_manifest_gets_one_that_says_what_the_file_says(model, tiny):
    exported = json.loads(model.with_suffix(".json").read_text())
    model.with_suffix(".json").unlink()
    assert "no ner-q8_0.json to compare with" in run_ok("verify", model, "--manifest")
    record = json.loads(model.with_suffix(".json").read_text())
    for what in ("base", "adapter"):
        assert record["made_of"][what] == {"sha256": exported["made_of"][what]["sha256"]}
    same = ("file", "sha256", "bytes", "task", "quantization", "bits_per_weight", "tensor_types")
    assert [record[key] for key in same] == [exported[key] for key in same]


def test_a_file_that_is_not_the_recorded_one_fails(model):
    data = bytearray(model.read_bytes())
    data[-40] ^= 1
    model.write_bytes(data)
    result = run("verify", model, "--threads", 1, "--manifest")
    assert result.exit_code == 1
    assert "✗ sha256: " in result.stdout
    assert read_manifest(model).sha256 in result.stdout, "the record is kept"
    for text in ("[]", '{"sha256": "0"}', "no JSON"):
        model.with_suffix(".json").write_text(text)
        result = run("verify", model, "--threads", 1, "--manifest")
        assert "ner-q8_0.json: not a manifest (" in result.stdout
        assert result.exit_code == 1
        assert model.with_suffix(".json").read_text() == text


def test_a_manifest_of_an_earlier_version_is_read(model):
    path = model.with_suffix(".json")
    record = json.loads(path.read_text())
    record["made_of"]["calibration"] = {"data": "train.conll", "imatrix_sha256": "0"}
    path.write_text(json.dumps(record))
    assert "as in ner-q8_0.json" in run_ok("verify", model, "--threads", 1, "--manifest")
    assert json.loads(path.read_text())["made_of"] == record["made_of"]


def test_what_failed_when_the_file_was_made_fails_again(model):
    path = model.with_suffix(".json")
    record = json.loads(path.read_text())
    record["checks"]["tokens"] = {"passed": False, "detail": "llama.cpp splits 'x' otherwise"}
    path.write_text(json.dumps(record))
    result = run("verify", model, "--threads", 1)
    assert result.exit_code == 1
    assert "✗ tokens: llama.cpp splits 'x' otherwise\n" in result.stdout


def test_a_truncated_file_is_one_line(model):
    model.write_bytes(model.read_bytes()[:-100])
    assert_error(run("verify", model), "damaged or incomplete GGUF file", exit_code=1)


@pytest.mark.parametrize(
    ("quant", "name"), [("q8_0", "blk.1.ffn_up.weight"), ("f32", "output_norm.weight")]
)
def test_weights_that_are_no_numbers_are_found(quant, name, tiny, tmp_path):
    (path,) = export_model(tiny.folder, None, tmp_path, [quant], task=tiny.task, name="m")
    info = GGUFFile(path).tensors[name]
    assert info.type.name == quant.upper()
    data = bytearray(path.read_bytes())
    nan = struct.pack("<e" if quant == "q8_0" else "<f", float("nan"))
    last = info.offset + info.nbytes - (34 if quant == "q8_0" else 4)  # the scale of a block
    data[last : last + len(nan)] = nan
    path.write_bytes(data)
    path.with_suffix(".json").unlink()
    result = run("verify", path, "--threads", 1)
    assert result.exit_code == 1
    assert f"✗ finite: {name} contains NaN or infinite values\n" in result.stdout


def test_a_model_without_a_task_fails(tmp_path):
    base = save_model(tmp_path / "base")
    (path,) = export_model(base, None, tmp_path, ["f16"])
    result = run("verify", path, "--threads", 1)
    assert result.exit_code == 1
    assert "✗ task: not in the file" in result.stdout


def test_parity_with_torch(tiny, tmp_path):
    adapter = save_adapter(tmp_path / "ner", tiny.folder)
    paths = export_model(tiny.folder, adapter, tmp_path, ["f32", "bf16", "q4_0"], task=tiny.task)
    options = ["--against", tiny.folder, "--adapter", adapter, "--threads", 1]
    for path in paths:
        stdout = run_ok("verify", path, *options, "--manifest")
        assert names(stdout)[-4:-1] == ["✓ provenance", "✓ tokens", "✓ parity"]
        check = read_manifest(path).checks[-1]
        assert check.name == "parity"
        assert check.detail.startswith("largest probability difference ")
        assert check.detail.endswith("(q4_0: no limit)") == (path == paths[-1])


def test_a_file_that_computes_something_else_fails(tiny, tmp_path):
    """The file claims another base than it was made from: one with a changed layer."""
    adapter = save_adapter(tmp_path / "ner", tiny.folder)
    other = tmp_path / "other"
    shutil.copytree(tiny.folder, other)
    model = load_model(other)
    model.model.layers[1].mlp.down_proj.weight.data.mul_(1.1)
    model.save_pretrained(other)
    (path,) = export_model(other, adapter, tmp_path, ["f32"], task=tiny.task)
    options = ["--adapter", adapter, "--threads", 1]
    result = run("verify", path, "--against", tiny.folder, *options)
    assert result.exit_code == 1
    assert names(result.stdout)[-1] == "✗ provenance"
    assert "another base: " in result.stdout
    right, wrong = ((folder / "model.safetensors").read_bytes() for folder in (other, tiny.folder))
    assert len(right) == len(wrong)
    original = json.loads(path.with_suffix(".json").read_text())["made_of"]["base"]["sha256"]
    (path2,) = export_model(tiny.folder, adapter, tmp_path / "b", ["f32"], task=tiny.task)
    given = json.loads(path2.with_suffix(".json").read_text())["made_of"]["base"]["sha256"]
    path.write_bytes(path.read_bytes().replace(original.encode(), given.encode()))
    path.with_suffix(".json").unlink()
    result = run("verify", path, "--against", tiny.folder, *options)
    assert result.exit_code == 1
    assert names(result.stdout)[-3:] == ["✓ provenance", "✓ tokens", "✗ parity"]


def test_what_parity_needs(model, tiny, tmp_path):
    assert_error(run("verify", model, "--adapter", "x"), "--adapter needs --against", 2)
    result = run("verify", model, "--against", tiny.folder, "--threads", 1)
    assert result.exit_code == 2
    assert "was made with an adapter; give its folder with --adapter" in result.stderr
    other = save_adapter(tmp_path / "other", tiny.folder, r=2)
    result = run("verify", model, "--against", tiny.folder, "--adapter", other, "--threads", 1)
    assert result.exit_code == 1
    assert "✗ provenance: another adapter: " in result.stdout
