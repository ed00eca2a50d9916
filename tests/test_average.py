"""The mean of adapters is the mean of what they add to the weights."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models
from command_line import assert_error, run, run_ok
from safetensors.numpy import load_file

from ner_edge.errors import ModelError, UsageError
from ner_edge.hf.word_head import read_word_head, write_word_head
from ner_edge.task import Task, load_saved_task
from ner_edge.train.average import average_adapters
from ner_edge.word_head import Linear, WordHead

TASK = Task("tiny", {"PER": "person"}, "Find persons.")


def products(folder: Path) -> dict[str, np.ndarray]:
    """scaling·B·A by the name of its A."""
    config = json.loads((folder / "adapter_config.json").read_text())
    weights = load_file(folder / "adapter_model.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    return {
        name: scaling
        * weights[name.replace("lora_A", "lora_B")].astype(np.float64)
        @ weights[name].astype(np.float64)
        for name in weights
        if "lora_A" in name
    }


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_models.save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    """Of other ranks, scales and weights."""
    root = tmp_path_factory.mktemp("adapters")
    made = []
    for rank, alpha in ((4, 12), (6, 6)):
        folder = tiny_models.save_adapter(root / str(rank), base, r=rank, lora_alpha=alpha)
        TASK.save(folder)
        (folder / "training_settings.json").write_text(json.dumps({"base_fingerprint": "00000001"}))
        made.append(folder)
    return made


def test_with_all_ranks_it_is_exact(adapters, tmp_path):
    assert average_adapters(adapters, tmp_path / "mean", rank=10) == pytest.approx(1)
    one, two = map(products, adapters)
    mean = products(tmp_path / "mean")
    assert mean.keys() == one.keys() == two.keys()
    assert len(mean) == 14
    for name, value in mean.items():
        np.testing.assert_allclose(value, (one[name] + two[name]) / 2, atol=2e-3)  # float16
    assert load_saved_task(tmp_path / "mean") == TASK
    record = json.loads((tmp_path / "mean" / "training_settings.json").read_text())
    assert record["base_fingerprint"] == "00000001"
    assert len(record["mean_of"]) == 2


def test_with_fewer_it_is_the_nearest_there_is(adapters, tmp_path):
    kept = average_adapters(adapters, tmp_path / "mean")
    assert 0.3 < kept < 0.95
    one, two = map(products, adapters)
    for name, value in products(tmp_path / "mean").items():
        exact = (one[name] + two[name]) / 2
        assert np.linalg.matrix_rank(value, tol=1e-3) == 4, "the first one's rank"
        lost = np.linalg.svd(exact, compute_uv=False)[4:]  # Eckart and Young: no less is possible
        assert np.linalg.norm(exact - value) == pytest.approx(np.linalg.norm(lost), rel=0.01)


def test_it_can_be_exported(base, adapters, tmp_path):
    average_adapters(adapters, tmp_path / "mean")
    run_ok("export", tmp_path / "mean", "--base", base, "--quant", "f16", "--out", tmp_path)
    assert (tmp_path / "mean-f16.gguf").is_file()


def test_what_does_not_belong_together_is_refused(base, adapters, tmp_path):
    others = {}
    for name in ("layers", "task", "base", "variant", "none"):
        others[name] = tmp_path / name
        shutil.copytree(adapters[1], others[name])
    shutil.rmtree(others["layers"])
    tiny_models.save_adapter(others["layers"], base, target_modules=["q_proj"])
    Task("other", {"LOC": "place"}, "Find places.").save(others["task"])
    (others["base"] / "training_settings.json").write_text('{"base_fingerprint": "00000002"}')
    config = others["variant"] / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_rslora": True}))
    (others["none"] / "adapter_model.safetensors").write_bytes(b"")
    for name, message in (
        ("layers", "has other layers than"),
        ("task", "was trained for another task"),
        ("base", "was trained on another base"),
        ("variant", "more than plain LoRA"),
        ("none", "damaged or incomplete safetensors file"),
    ):
        with pytest.raises(ModelError, match=f"{name}.*{message}"):
            average_adapters([adapters[0], others[name]], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
    with pytest.raises(UsageError, match="positive, not 0"):
        average_adapters(adapters, tmp_path / "mean", rank=0)
    assert not (tmp_path / "mean").exists()
    with pytest.raises(UsageError, match=r"--out .*: exists already; give a new folder"):
        average_adapters(adapters, adapters[0])
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file: is not a folder"):
        average_adapters(adapters, tmp_path / "file" / "mean")


def with_head(adapter, folder, value, labels=("PER",), depths=(1, 2), width=64, passage=0):
    """A copy of `adapter` with a word head whose weights are `value`, and its biases the depth."""
    shutil.copytree(adapter, folder)
    shape = (1 + 2 * len(labels), width)
    layers = {
        depth: Linear(np.full(shape, value, np.float32), np.full(shape[0], depth, np.float32))
        for depth in depths
    }
    write_word_head(WordHead(tuple(labels), layers, passage=passage), folder)
    return folder


def test_word_heads_are_averaged(adapters, tmp_path):
    folders = [
        with_head(adapter, tmp_path / name, value, passage=passage)
        for adapter, name, value, passage in zip(adapters, "ab", (1, 4), (0, 100), strict=True)
    ]
    average_adapters(folders, tmp_path / "mean")
    head = read_word_head(tmp_path / "mean")
    assert (head.labels, list(head.layers), head.passage) == (("PER",), [1, 2], 100)
    for depth, (weight, bias) in head.layers.items():
        assert weight.shape == (3, 64)
        assert (weight == 2.5).all()
        assert (bias == depth).all()
    average_adapters(adapters, tmp_path / "causal")
    assert read_word_head(tmp_path / "causal") is None


def test_word_heads_that_do_not_belong_together_are_refused(adapters, tmp_path):
    first = with_head(adapters[0], tmp_path / "first", 1)
    others = {
        "labels": with_head(adapters[1], tmp_path / "labels", 1, labels=("LOC",)),
        "depths": with_head(adapters[1], tmp_path / "depths", 1, depths=(2,)),
        "width": with_head(adapters[1], tmp_path / "width", 1, width=32),
    }
    for name, other in others.items():
        with pytest.raises(ModelError, match=f"{name}: its word head has other labels or layers"):
            average_adapters([first, other], tmp_path / "mean")
    for pair in ([first, adapters[1]], [adapters[1], first]):
        message = f"{adapters[1]}: has no word head, but {first} has one; "
        with pytest.raises(ModelError, match=re.escape(message)):
            average_adapters(pair, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


# The command line


def test_command_line(base, adapters, tmp_path):
    out = tmp_path / "new" / "mean"
    result = run("average", *adapters, "--out", out, "--rank", 10)
    assert (result.exit_code, result.stdout) == (0, f"{out}\n")
    assert result.stderr == "kept 100.0 % of the exact mean\n"
    assert json.loads((out / "adapter_config.json").read_text())["r"] == 10
    result = run("average", *adapters, "-o", tmp_path / "first")
    assert re.fullmatch(r"kept [3-9]\d\.\d % of the exact mean\n", result.stderr)
    assert json.loads((tmp_path / "first" / "adapter_config.json").read_text())["r"] == 4


def test_mistakes_are_one_line(adapters, tmp_path):
    out = tmp_path / "mean"
    for arguments, message, exit_code in (
        ([adapters[0], "-o", out], "give two or more adapters to average", 2),
        ([*adapters, "-o", out, "--rank", 0], "--rank must be positive, not 0", 2),
        ([*adapters, "-o", adapters[0]], "--out .*: exists already; give a new folder", 2),
        ([adapters[0], tmp_path / "none", "-o", out], "none: not an adapter", 1),
    ):
        assert_error(run("average", *arguments), message, exit_code)
    assert not out.exists()


def test_missing_extra_is_one_line(adapters, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ner_edge.train.average", None)
    result = run("average", *adapters, "-o", tmp_path / "mean")
    assert_error(result, r"pip install 'ner-edge\[train\]'", exit_code=2)
