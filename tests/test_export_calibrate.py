"""Calibration: the importance matrix is what the weights see, and files keep to their recipe."""

from itertools import product

import numpy as np
import pytest
import torch
from command_line import assert_error, run, run_ok
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import load_model

from ner_edge.errors import DataError, ModelError, UsageError
from ner_edge.export.calibrate import collect_imatrix
from ner_edge.export.calibration import CalibrationSet, read_calibration
from ner_edge.export.pipeline import export_model
from ner_edge.export.recipe import (
    Choice,
    Recipe,
    best_choices,
    parse_size,
    read_recipe,
)
from ner_edge.gguf_file import GGUFFile
from ner_edge.imatrix import Imatrix, read_imatrix
from ner_edge.labelled import read_labelled
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
    answers = CalibrationSet([(sentence.words, sentence.spans)], "train.conll")
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
    answers = CalibrationSet([(["EU"], [Span(0, 1, "ORG")])], "train.conll")
    with pytest.raises(DataError, match="label ORG is none of the task's"):
        collect_imatrix(tiny.gguf, tiny.task, answers, threads=1)


def test_an_importance_matrix_survives_its_file(tmp_path):
    imatrix = Imatrix(dataset="täglich.conll")
    imatrix.add("blk.0.attn_q.weight", np.array([[1, 2], [3, 4]], np.float32))
    imatrix.add("blk.0.attn_q.weight", np.zeros((0, 2), np.float32))
    imatrix.save(tmp_path / "i.gguf")
    found = read_imatrix(tmp_path / "i.gguf")
    assert found.dataset == imatrix.dataset
    assert found.counts == {"blk.0.attn_q.weight": 2}
    assert found.means("blk.0.attn_q.weight").tolist() == [5, 10]
    assert found.means("other") is None


def test_other_files_are_no_importance_matrix(tiny, tmp_path):
    with pytest.raises(ModelError, match="not an importance matrix"):
        read_imatrix(tiny.gguf)
    broken = Imatrix({"a": np.array([np.nan])}, {"a": 1})
    broken.save(tmp_path / "i.gguf")
    with pytest.raises(ModelError, match="no measurement gives"):
        read_imatrix(tmp_path / "i.gguf")


def error_of(path, reference, imatrix, name):
    importance = imatrix.means(name)
    return float((np.square(GGUFFile(path).float32(name) - reference) @ importance).sum())


def test_calibration_lowers_the_weighted_error(tiny, data, tmp_path):
    plain, careful = tmp_path / "plain", tmp_path / "careful"
    export_model(tiny.folder, None, plain, ["q4_0", "f32"], task=tiny.task)
    options = {"task": tiny.task, "calibration": read_calibration(data)}
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
        tiny.folder, None, again, ["q4_0"], task=tiny.task, calibration=read_calibration(matrix)
    )
    assert same.read_bytes() == next(careful.glob("*q4_0.gguf")).read_bytes()


def test_a_file_of_a_given_size_and_its_recipe(tiny, data, tmp_path):
    base = ["export", "--base", tiny.folder, "--task", "conll2003", "--threads", 1]
    whole = run_ok(*base, "-q", "q8_0", "-o", tmp_path).strip()
    most = int(0.9 * GGUFFile(tmp_path / whole).size_bytes)
    options = ["--calibrate", data, "--size", str(most), "-o", tmp_path / "a"]
    path = tmp_path / "a" / run_ok(*base, *options).strip()
    assert 0.8 * most < path.stat().st_size <= most
    recipe = next((tmp_path / "a").glob("*.toml"))
    matrix = next((tmp_path / "a").glob("*imatrix.gguf"))
    types = read_recipe(recipe).types
    tensors = GGUFFile(path).tensors
    assert {name: tensors[name].type.name.lower() for name in types} == types
    assert len(set(types.values())) > 1
    again = ["--calibrate", matrix, "--recipe", recipe, "-o", tmp_path / "b"]
    copy = tmp_path / "b" / run_ok(*base, *again).strip()
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "80MB"], "--size measures the task's decisions: give sentences"),
        (["--size", "much", "--calibrate", "DATA"], "'much' is not a size"),
        (["--size", "1kB", "--calibrate", "DATA"], "no recipe fits into"),
        (["--recipe", "absent.toml"], "absent.toml: no such recipe"),
        (["-q", "iq2_xs"], "iq2_xs needs an importance matrix: give training sentences"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tiny, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [str(data) if argument == "DATA" else argument for argument in arguments]
    result = run("export", "--base", tiny.folder, "--task", "conll2003", *arguments)
    assert_error(result, message, exit_code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("types", "not a recipe"),
        ("[types]", r"has no \[types\]"),
        ('[types]\na = "q9"', "a has no type of ggml but 'q9'"),
        ("[types]\na = 4", "a has no type of ggml but 4"),
        ('name = "a/b"\n[types]\na = "q4_0"', "name must be letters"),
    ],
)
def test_damaged_recipes_are_refused(text, message, tmp_path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(tmp_path / "r.toml")


def test_a_recipe_survives_its_file(tmp_path):
    recipe = Recipe("80mb", {"blk.0.attn_q.weight": "q4_0", "token_embd.weight": "q5_1"})
    recipe.save(tmp_path / "r.toml")
    assert read_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("text", "size"), [("80MB", 80_000_000), ("1.5 gb", 1_500_000_000), ("7", 7), ("2k", 2000)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


choices = st.builds(
    Choice, st.just("q"), st.integers(1, 50), st.floats(0, 10).map(lambda x: round(x, 3))
)


@given(st.lists(st.lists(choices, min_size=1, max_size=4), min_size=1, max_size=5), st.data())
def test_no_choice_of_that_size_does_less_damage(options, data):
    table = {str(number): few for number, few in enumerate(options)}
    smallest = sum(min(c.nbytes for c in few) for few in options)
    size = data.draw(st.integers(smallest, smallest + 100))
    chosen = best_choices(table, size)
    taken = sum(c.nbytes for c in chosen.values())
    damage = sum(c.damage for c in chosen.values())
    assert taken <= size
    best = min(
        sum(c.damage for c in few)
        for few in product(*options)
        if sum(c.nbytes for c in few) <= taken
    )
    assert damage == pytest.approx(best, abs=1e-6)
    with pytest.raises(UsageError, match="no recipe fits"):
        best_choices(table, smallest - 1)


def test_bytes_go_where_they_spare_most_damage_until_none_is_left():
    table = {
        name: [Choice("small", 10, damage), Choice("large", 20, 0.0)]
        for name, damage in {"a": 10.0, "b": 5.0, "c": 4.0}.items()
    }
    for size, larger in ((30, ""), (39, ""), (40, "a"), (50, "ab"), (59, "ab"), (60, "abc")):
        chosen = best_choices(table, size)
        assert "".join(name for name in table if chosen[name].type == "large") == larger
