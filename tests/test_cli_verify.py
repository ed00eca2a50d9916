"""`ner-edge verify`: what is wrong with a file is found, and what is right is put on record."""

import json

import numpy as np
import pytest
from command_line import assert_error, run, run_ok
from tiny_models import save_adapter, save_model

from ner_edge.export import verify as verify_module
from ner_edge.export.pipeline import export_model
from ner_edge.export.verify import verify
from ner_edge.gguf_file import GGUFFile


@pytest.fixture
def model(tiny, tmp_path):
    adapter = save_adapter(tmp_path / "ner", tiny.folder)
    (path,) = export_model(tiny.folder, adapter, tmp_path, ["q8_0"], task=tiny.task)
    return path


def test_a_good_file_passes_and_is_put_on_record(model, tiny):
    lines = run_ok("verify", model, "--threads", 1, "--manifest").splitlines()
    assert all(line.startswith("✓ ") for line in lines[:-1])
    assert [line.split(":")[0] for line in lines[:-1]] == [
        "✓ complete",
        "✓ sha256",
        "✓ finite",
        "✓ task",
        "✓ tokenizer",
        "✓ tags",
    ]
    record = json.loads(model.with_suffix(".json").read_text())
    assert lines[-1] == str(model.with_suffix(".json"))
    assert record["bytes"] == model.stat().st_size
    assert record["task"] == tiny.task.name
    assert record["tensor_types"]["Q8_0"] > 0
    assert set(record["made_of"]) == {"ner-edge", "adapter"}
    assert len(record["checks"]) == 6
    assert "as in ner-q8_0.json" in run_ok("verify", model, "--threads", 1)


def test_a_file_that_is_not_the_recorded_one_fails(model):
    run_ok("verify", model, "--threads", 1, "--manifest")
    data = bytearray(model.read_bytes())
    data[-40] ^= 1
    model.write_bytes(data)
    result = run("verify", model, "--threads", 1)
    assert result.exit_code == 1
    assert "✗ sha256: " in result.stdout
    model.with_suffix(".json").write_text("[]")
    assert "but ner-q8_0.json is no record of it" in run("verify", model, "--threads", 1).stdout


def test_a_truncated_file_is_one_line(model):
    model.write_bytes(model.read_bytes()[:-100])
    assert_error(run("verify", model), "damaged or incomplete GGUF file", exit_code=1)


def test_weights_that_are_no_numbers_are_found(tiny, model, monkeypatch):
    rows = GGUFFile.rows

    def broken(self, name, start, end):
        values = rows(self, name, start, end)
        if name == "blk.1.ffn_up.weight":
            values[-1, -1] = np.nan
        return values

    monkeypatch.setattr(GGUFFile, "rows", broken)
    monkeypatch.setattr(verify_module, "_at_work", lambda model, threads: iter(()))
    failed = [check for check in verify(model) if not check.ok]
    assert [str(check) for check in failed] == [
        "✗ finite: blk.1.ffn_up.weight holds numbers that are not"
    ]


def test_a_model_without_a_task_fails(tmp_path):
    base = save_model(tmp_path / "base")
    (path,) = export_model(base, None, tmp_path, ["f16"])
    result = run("verify", path, "--threads", 1)
    assert result.exit_code == 1
    assert "✗ task: none inside" in result.stdout
