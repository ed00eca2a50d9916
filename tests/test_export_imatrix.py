"""The importance matrix sums what the weights see, and files keep to the recipes found with it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import assert_error, run, run_ok
from exporting import export_model
from tiny_models import load_model

from ner_edge.data.labelled import read_labelled
from ner_edge.errors import DataError, ModelError
from ner_edge.export.describe.manifest import read_manifest
from ner_edge.export.quantize.collect_imatrix import (
    ImatrixData,
    collect_imatrix,
    imatrix_or_data,
)
from ner_edge.export.quantize.recipe import read_recipe
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix, read_imatrix
from ner_edge.gguf.metadata import describe
from ner_edge.runtime.llama import LlamaModel
from ner_edge.spans import Span

DATA = "London B-LOC\ncalls O\nZoe B-PER\n. O\n\nEU B-LOC\nrejects O\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.conll"
    path.write_text(DATA)
    return path


def test_importance_is_the_square_of_what_torch_sees(tiny, data, tmp_path):
    (f32,) = export_model(tiny.folder, None, tmp_path, ["f32"], task=tiny.task)
    (sentence,) = read_labelled(data)[:1]
    answers = ImatrixData([(sentence.words, sentence.spans)], "train.conll")
    found = collect_imatrix(f32, tiny.task, answers, threads=1)

    llama = LlamaModel(f32, context=256, sequences=1, threads=1)
    ids = llama.tokenize(tiny.task.prefix, special=True, start=True)
    ids += llama.tokenize(sentence.text) + llama.tokenize(tiny.task.suffix, special=True)
    ids += llama.tokenize("[London | LOC] calls [Zoe | PER] .\n")[:-1]
    llama.close()
    model = load_model(tiny.folder)
    layer = model.model.layers[0]
    seen = {}
    for name, module in {
        "attn_q": layer.self_attn.q_proj,
        "attn_output": layer.self_attn.o_proj,
        "ffn_up": layer.mlp.up_proj,
        "ffn_down": layer.mlp.down_proj,
    }.items():
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0][0]})
        )
    with torch.no_grad():
        model(torch.tensor([ids]))
    for name, inputs in seen.items():
        weight = f"blk.0.{name}.weight"
        assert found.counts[weight] == len(ids)
        expected = inputs.numpy().astype(np.float64) ** 2
        np.testing.assert_allclose(found.sums[weight], expected.sum(axis=0), rtol=0.02)
    assert 0 < found.counts["token_embd.weight"] < len(ids), "only where a decision falls"


def test_labels_that_the_task_does_not_know_are_an_error(tiny):
    answers = ImatrixData([(["EU"], [Span(0, 1, "ORG")])], "train.conll")
    with pytest.raises(DataError, match="label ORG is not one of the task's"):
        collect_imatrix(tiny.gguf, tiny.task, answers, threads=1)


def test_an_importance_matrix_survives_its_file(tmp_path):
    imatrix = Imatrix(dataset="täglich.conll", dataset_sha256="ab12")
    imatrix.add("blk.0.attn_q.weight", np.array([[1, 2], [3, 4]], np.float32))
    imatrix.add("blk.0.attn_q.weight", np.zeros((0, 2), np.float32))
    imatrix.save(tmp_path / "i.gguf")
    found = read_imatrix(tmp_path / "i.gguf")
    assert (found.dataset, found.dataset_sha256) == (imatrix.dataset, "ab12")
    assert found.counts == {"blk.0.attn_q.weight": 2}
    assert found.means("blk.0.attn_q.weight").tolist() == [5, 10]
    assert found.means("other") is None


def test_other_files_are_no_importance_matrix(tiny, tmp_path):
    with pytest.raises(ModelError, match="not an importance matrix"):
        read_imatrix(tiny.gguf)
    broken = Imatrix({"a": np.array([np.nan])}, {"a": 1})
    broken.save(tmp_path / "i.gguf")
    with pytest.raises(ModelError, match="impossible values; collect"):
        read_imatrix(tmp_path / "i.gguf")


def error_of(path, reference, imatrix, name):
    importance = imatrix.means(name)
    return float((np.square(GGUFFile(path).float32(name) - reference) @ importance).sum())


def test_an_importance_matrix_lowers_the_weighted_error(tiny, data, tmp_path):
    plain, careful = tmp_path / "plain", tmp_path / "careful"
    export_model(tiny.folder, None, plain, ["q4_0", "f32"], task=tiny.task)
    options = {"task": tiny.task, "imatrix": imatrix_or_data(data)}
    export_model(tiny.folder, None, careful, ["q4_0"], **options)
    (matrix,) = careful.glob("*-imatrix.gguf")
    imatrix = read_imatrix(matrix)
    better = 0
    names = [name for name, sums in imatrix.sums.items() if "blk" in name and len(sums) % 32 == 0]
    for name in names:
        reference = GGUFFile(next(plain.glob("*f32.gguf"))).float32(name)
        before = error_of(next(plain.glob("*q4_0.gguf")), reference, imatrix, name)
        better += error_of(next(careful.glob("*q4_0.gguf")), reference, imatrix, name) < before
    assert better >= 0.9 * len(names)
    again = tmp_path / "again"
    (same,) = export_model(
        tiny.folder, None, again, ["q4_0"], task=tiny.task, imatrix=imatrix_or_data(matrix)
    )
    assert same.read_bytes() == next(careful.glob("*q4_0.gguf")).read_bytes()


def test_the_smallest_file_of_a_given_loss_and_its_prediction(tiny, data, tmp_path):
    options = ["--imatrix", data, "--size", "1MB", "--max-loss", "3", "--threads", 1]
    options += ["--base", tiny.folder, "--task", "conll2003", "--card"]
    stdout = run_ok("export", *options, "-o", tmp_path)
    assert [Path(line).name for line in stdout.splitlines()] == [
        "tiny-1mb.gguf",
        "tiny-3mnat.gguf",
    ]
    whole, small = (read_recipe(tmp_path / f"tiny-{name}.toml") for name in ("1mb", "3mnat"))
    assert 0 <= whole.predicted_kl_millinats < small.predicted_kl_millinats <= 3
    sizes = [(tmp_path / f"tiny-{name}.gguf").stat().st_size for name in ("1mb", "3mnat")]
    assert sizes[1] < sizes[0]
    provenance = read_manifest(tmp_path / "tiny-3mnat.gguf").provenance
    assert provenance["recipe"] == {
        "name": "3mnat",
        "predicted_kl_millinats": small.predicted_kl_millinats,
    }
    sha256 = hashlib.sha256(DATA.encode()).hexdigest()
    assert provenance["imatrix"] == {
        "data": "train.conll",
        "data_sha256": sha256,
        "sha256": sha256_of(tmp_path / "tiny-imatrix.gguf"),
    }
    described = describe(tmp_path / "tiny-3mnat.gguf").provenance
    assert "train.conll" in described.values()
    predicted = f"{small.predicted_kl_millinats:.2f} millinats"
    assert predicted in (tmp_path / "tiny.md").read_text()


def test_the_columns_of_the_sentences_can_be_named(tiny, data, tmp_path):
    swapped = tmp_path / "swapped.conll"
    lines = (line.split() for line in DATA.splitlines())
    swapped.write_text("\n".join(" ".join(reversed(line)) for line in lines) + "\n")
    base = ["export", "--base", tiny.folder, "--task", "conll2003", "-q", "q4_0", "--threads", 1]
    run_ok(*base, "--imatrix", data, "-o", tmp_path / "a")
    run_ok(*base, "--imatrix", swapped, "--columns", "2,1", "-o", tmp_path / "b")
    first, second = (tmp_path / folder / "tiny-q4_0.gguf" for folder in "ab")
    assert GGUFFile(first).float32("blk.0.ffn_up.weight").tobytes() == (
        GGUFFile(second).float32("blk.0.ffn_up.weight").tobytes()
    )


def test_a_file_of_a_given_size_and_its_recipe(tiny, data, tmp_path):
    base = ["export", "--base", tiny.folder, "--task", "conll2003", "--threads", 1]
    whole = run_ok(*base, "-q", "q8_0", "-o", tmp_path).strip()
    most = int(0.9 * GGUFFile(tmp_path / whole).size_bytes)
    options = ["--imatrix", data, "--size", str(most), "-o", tmp_path / "a"]
    path = tmp_path / "a" / run_ok(*base, *options).strip()
    assert 0.8 * most < path.stat().st_size <= most
    recipe = next((tmp_path / "a").glob("*.toml"))
    matrix = next((tmp_path / "a").glob("*imatrix.gguf"))
    types = read_recipe(recipe).types
    tensors = GGUFFile(path).tensors
    assert {name: tensors[name].type.name.lower() for name in types} == types
    assert len(set(types.values())) > 1
    again = ["--imatrix", matrix, "--recipe", recipe, "-o", tmp_path / "b"]
    copy = tmp_path / "b" / run_ok(*base, *again).strip()
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--size", "80MB"],
            "--size measures the decisions on labelled sentences: give them with --imatrix",
        ),
        (["--size", "much", "--imatrix", "DATA"], "'much' is not a size"),
        (["--size", "1kB", "--imatrix", "DATA"], "no recipe fits into"),
        (
            ["--max-loss", "2"],
            "--max-loss measures the decisions on labelled sentences: give them with",
        ),
        (["--columns", "1,4"], "--columns describes the file of --imatrix"),
        (["--recipe", "absent.toml"], "absent.toml: no such file"),
        (["-q", "iq2_xs"], "iq2_xs needs an importance matrix: give training sentences"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tiny, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(data) if argument == "DATA" else argument for argument in arguments]
    result = run("export", "--base", tiny.folder, "--task", "conll2003", *arguments)
    assert_error(result, message, exit_code=2)
