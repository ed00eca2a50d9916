"""Calibration: the importance matrix is what the weights see, and files keep to their recipe."""

import hashlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import assert_error, run, run_ok
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import load_model

from ner_edge.data.labelled import read_labelled
from ner_edge.errors import DataError, ModelError, UsageError
from ner_edge.export.describe.manifest import read_manifest
from ner_edge.export.pipeline import export_model
from ner_edge.export.quantize.calibrate import collect_imatrix
from ner_edge.export.quantize.calibration import CalibrationSet, read_calibration
from ner_edge.export.quantize.recipe import (
    Choice,
    Recipe,
    best_choices,
    parse_size,
    read_recipe,
    smallest_choices,
)
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix, read_imatrix
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


def test_the_smallest_file_of_a_given_loss_and_its_prediction(tiny, data, tmp_path):
    options = ["--calibrate", data, "--size", "1MB", "--max-loss", "3", "--threads", 1]
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
    made_of = read_manifest(tmp_path / "tiny-3mnat.gguf").made_of
    assert made_of["recipe"] == {
        "name": "3mnat",
        "predicted_kl_millinats": small.predicted_kl_millinats,
    }
    sha256 = hashlib.sha256(DATA.encode()).hexdigest()
    assert made_of["calibration"]["data"] == "train.conll"
    assert made_of["calibration"]["sha256"] == sha256
    matrix = tmp_path / "tiny-imatrix.gguf"
    assert made_of["calibration"]["imatrix_sha256"] == sha256_of(matrix)
    predicted = f"{small.predicted_kl_millinats:.2f} millinats"
    assert predicted in (tmp_path / "tiny.md").read_text()


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
        (["--max-loss", "2"], "--max-loss measures the task's decisions: give sentences"),
        (["--recipe", "absent.toml"], "absent.toml: no such file"),
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
        ('[types]\na = "q9"', "a: 'q9' is not a ggml type"),
        ("[types]\na = 4", "Expected `str`, got `int`"),
        ('name = "a/b"\n[types]\na = "q4_0"', "name must be letters"),
    ],
)
def test_damaged_recipes_are_refused(text, message, tmp_path):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("prediction", [None, 1.25, 0.0])
def test_a_recipe_survives_its_file(prediction, tmp_path):
    types = {"blk.0.attn_q.weight": "q4_0", "token_embd.weight": "q5_1"}
    recipe = Recipe("80mb", types, prediction)
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert read_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize("prediction", ['"much"', "nan", "true", "[1]"])
def test_a_prediction_that_is_none_is_no_error(prediction, tmp_path):
    text = f'predicted_kl_millinats = {prediction}\n[types]\na = "q4_0"\n'
    (tmp_path / "r.toml").write_text(text)
    assert read_recipe(tmp_path / "r.toml") == Recipe("r", {"a": "q4_0"})


@pytest.mark.parametrize(
    ("text", "size"), [("80MB", 80_000_000), ("1.5 gb", 1_500_000_000), ("7", 7), ("2k", 2000)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


choices = st.builds(
    Choice, st.just("q"), st.integers(1, 50), st.floats(0, 10).map(lambda x: round(x, 3))
)
tables = st.lists(st.lists(choices, min_size=1, max_size=4), min_size=1, max_size=5).map(
    lambda options: {str(number): few for number, few in enumerate(options)}
)


def sums(few):
    """Bytes and damage of some choices together."""
    return sum(c.nbytes for c in few), sum(c.damage for c in few)


def most(table, key):
    """How much one tensor's choices differ at most."""
    values = [[getattr(c, key) for c in few] for few in table.values()]
    return max(max(few) - min(few) for few in values)


def single_changes(table, chosen):
    """What `chosen` becomes with another choice for one tensor."""
    return [(chosen | {name: choice}).values() for name, few in table.items() for choice in few]


@given(tables, st.data())
def test_choices_of_a_size_do_about_the_least_damage(table, data):
    smallest = sum(min(c.nbytes for c in few) for few in table.values())
    size = data.draw(st.integers(smallest, smallest + 100))
    chosen = best_choices(table, size)
    taken, damage = sums(chosen.values())
    assert taken <= size
    for changed in single_changes(table, chosen):
        assert sums(changed)[0] > size or sums(changed)[1] >= damage - 1e-9
    every = [sums(few) for few in product(*table.values())]
    assert damage <= min(d for n, d in every if n <= size) + most(table, "damage") + 1e-6
    with pytest.raises(UsageError, match="no recipe fits"):
        best_choices(table, smallest - 1)


@given(tables, st.data())
def test_choices_of_a_damage_are_about_the_smallest(table, data):
    least, greatest = (sum(f(c.damage for c in few) for few in table.values()) for f in (min, max))
    allowed = least + data.draw(st.floats(0, 1)) * (greatest - least) + 0.001
    chosen = smallest_choices(table, allowed)
    taken, damage = sums(chosen.values())
    assert damage <= allowed
    for changed in single_changes(table, chosen):
        assert sums(changed)[1] > allowed - 1e-9 or sums(changed)[0] >= taken
    every = [sums(few) for few in product(*table.values())]
    assert taken <= min(n for n, d in every if d <= allowed) + most(table, "nbytes")
    with pytest.raises(UsageError, match="no recipe loses as little as"):
        smallest_choices(table, least - 0.001)


def test_bytes_go_where_they_spare_most_damage_until_none_is_left():
    table = {
        name: [Choice("small", 10, damage), Choice("large", 20, 0.0)]
        for name, damage in {"a": 10.0, "b": 5.0, "c": 4.0}.items()
    }
    for size, larger in ((30, ""), (39, ""), (40, "a"), (50, "ab"), (59, "ab"), (60, "abc")):
        chosen = best_choices(table, size)
        assert "".join(name for name in table if chosen[name].type == "large") == larger
    for damage, larger in ((0, "abc"), (3.9, "abc"), (4, "ab"), (8.9, "ab"), (9, "a"), (19, "")):
        chosen = smallest_choices(table, damage)
        assert "".join(name for name in table if chosen[name].type == "large") == larger


def test_what_a_large_tensor_leaves_over_goes_to_others():
    """By damage per byte it comes next, but does not fit."""
    table = {
        "large": [Choice("q5_0", 100, 100.0), Choice("q8_0", 200, 0.0)],
        "good": [Choice("q5_0", 10, 6.0), Choice("q8_0", 20, 0.0)],
        "better": [Choice("q5_0", 10, 8.0), Choice("q8_0", 20, 0.0)],
    }
    for size, changed in ((129, ""), (130, "better"), (140, "better good"), (220, "large")):
        chosen = best_choices(table, size)
        assert changed.split() == sorted(name for name in table if chosen[name].type == "q8_0")


def test_equal_tensors_share_what_is_left():
    """At one price all of them change or none, so the bytes would stay unused."""
    table = {name: [Choice("small", 10, 2.0), Choice("large", 20, 0.0)] for name in "abcd"}
    for size in range(40, 81):
        larger = [c for c in best_choices(table, size).values() if c.type == "large"]
        assert len(larger) == (size - 40) // 10
    for damage in range(9):
        smaller = [c for c in smallest_choices(table, damage).values() if c.type == "small"]
        assert len(smaller) == damage // 2
