"""`ner-edge export` writes the files it promises, or prints one line saying why not."""

import json
import shutil

import numpy as np
import pytest
from command_line import assert_error, run, run_ok
from tiny_models import gguf_logits, load_model, logits, save_adapter, save_model

from ner_edge.gguf.metadata import describe


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    folder = save_adapter(tmp_path_factory.mktemp("adapter") / "ner", tiny.folder)
    tiny.task.save(folder)
    return folder


def test_adapter_and_base_to_two_types(tiny, adapter, tmp_path):
    out = tmp_path / "new" / "folder"
    options = ["-q", "q4_0", "--quant", "Q8_0", "-o", out, "--threads", 1]
    stdout = run_ok("export", adapter, "--base", tiny.folder, *options)
    paths = [out / "ner-q4_0.gguf", out / "ner-q8_0.gguf"]
    assert stdout.splitlines() == [str(path) for path in paths]
    assert sorted(out.glob("*.gguf")) == paths
    assert sorted(path.stem for path in out.glob("*.json")) == ["ner-q4_0", "ner-q8_0"]
    for path in paths:
        assert describe(path).task == tiny.task
        tagged = run_ok("tag", "-m", path, "--threads", 1, "--format", "jsonl", stdin=b"Zoe\n")
        assert json.loads(tagged)["text"] == "Zoe"


def test_base_is_taken_from_the_adapter(tiny, adapter, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(adapter, copy)
    path = copy / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"base_model_name_or_path": str(tiny.folder)}))
    stdout = run_ok("export", copy, "-o", tmp_path, "--name", "mine", "-q", "f16")
    assert stdout == f"{tmp_path}/mine-f16.gguf\n"
    for nothing in (None, ""):
        path.write_text(json.dumps(config | {"base_model_name_or_path": nothing}))
        message = "copy: names no base; give --base"
        assert_error(run("export", copy, "-o", tmp_path), message, exit_code=2)


def test_base_alone_with_a_task(tiny, tmp_path):
    arguments = ["--base", tiny.folder, "--task", "conll2003", "-o", tmp_path]
    stdout = run_ok("export", *arguments)
    assert stdout == f"{tmp_path}/tiny-q8_0.gguf\n", "q8_0 unless told otherwise"
    assert describe(tmp_path / "tiny-q8_0.gguf").task.name == "conll2003"


def test_wrong_type_shows_all_types(tiny, tmp_path):
    result = run("export", "--base", tiny.folder, "-q", "q4_k_xl", "-o", tmp_path)
    assert_error(result, r"^error: unknown quantization type 'q4_k_xl'; .*\n", 2, lines=None)
    for name in ("f16", "q8_0", "q4_k_m", "q2_k"):
        assert f"\n{name} " in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        ([], "give an adapter, or --base", 2),
        (["absent"], "absent: no such adapter folder, and not a hub id", 2),
        (["--base", "./absent"], r"\./absent: no such file or folder, and not a hub id", 2),
        (["--base", "."], r"config\.json", 1),
        (["--base", "text.gguf"], r"text\.gguf: not a GGUF file", 1),
        (["empty"], "empty: names no base", 2),
        (["empty", "--base", "BASE"], r"empty: not an adapter \(contains no adapter_config", 1),
        (["ADAPTER", "--base", "BASE", "--name", "a/b"], "--name 'a/b' must not contain a path", 2),
        (["ADAPTER", "--base", "BASE", "--task", "x"], "no task 'x'; built in: conll2003", 2),
        (["ADAPTER", "--base", "BASE", "--task", "x.toml"], "x.toml: no such file", 2),
        (
            ["ADAPTER", "--base", "BASE", "-o", "text.gguf"],
            "text.gguf: cannot be created as a folder",
            1,
        ),
    ],
)
def test_mistakes_are_one_line(arguments, message, exit_code, tiny, adapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.gguf").write_text("no model")
    known = {"ADAPTER": adapter, "BASE": tiny.folder}
    result = run("export", *[known.get(argument, argument) for argument in arguments])
    assert_error(result, message, exit_code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text.gguf"]


def test_adapter_for_another_base(adapter, tmp_path):
    other = save_model(tmp_path / "other", hidden_size=64)
    result = run("export", adapter, "--base", other, "-o", tmp_path / "out")
    assert_error(result, "ner: does not fit the base .*other; 14 of its tensors do not")
    assert not (tmp_path / "out").exists()


def test_adapter_alone(tiny, adapter, tmp_path):
    stdout = run_ok("export", adapter, "--base", tiny.folder, "--adapter-only", "-o", tmp_path)
    lora = tmp_path / "ner-lora.gguf"
    assert stdout == f"{lora}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["ner-lora.gguf"]
    ids = [5, 60, 300, 7, 299, 12]
    reference = logits(load_model(tiny.folder, adapter), ids)
    assert np.abs(gguf_logits(tiny.gguf, ids, lora) - reference).max() < 0.1
    assert np.abs(gguf_logits(tiny.gguf, ids) - reference).max() > 0.3


def test_what_cannot_be_combined_with_an_adapter_alone(tiny, adapter, tmp_path):
    command = ["export", "--adapter-only", "--base", tiny.folder, "-o", tmp_path]
    assert_error(run(*command), "--adapter-only needs an adapter", 2)
    for flags in (["--quant", "f16"], ["--imatrix", "x"], ["--size", "1MB"], ["--card"]):
        message = f"--adapter-only cannot be combined with {flags[0]}"
        assert_error(run(*command, adapter, *flags), message, 2)
    result = run("export", "--adapter-only", tiny.folder, "-o", tmp_path)
    assert_error(result, "--adapter-only needs an adapter; .*tiny is a whole model", 2)
    assert list(tmp_path.iterdir()) == []
