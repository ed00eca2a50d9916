"""The files of an export are renamed together or not at all."""

import os
import re

import pytest
from command_line import assert_error, run
from exporting import export_model
from tiny_models import save_adapter

from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.staging import Staging
from ner_edge.export.verify.tokens import check_tokens


def test_all_get_their_names_or_none(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("before")

    def fail_at_the_end():
        with Staging([]) as staging:
            staging.add(old).write_text("after")
            written = staging.add(new)
            written.write_text("after")
            raise ModelError(f"{written}: is bad")

    with pytest.raises(ModelError, match=f"{new}: is bad"):
        fail_at_the_end()
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert old.read_text() == "before"
    with Staging([]) as staging:
        staging.add(old).write_text("after")
        staging.add(new).write_text("after")
        assert staging.written(tmp_path / "other") == tmp_path / "other"
    assert old.read_text() == new.read_text() == "after"


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_input_is_not_overwritten(link, tmp_path):
    source, alias = tmp_path / "source", tmp_path / "alias"
    source.write_text("precious")
    link(source, alias)
    with (
        pytest.raises(UsageError, match=r"alias: would replace .*source, which is read"),
        Staging([source]) as staging,
    ):
        staging.add(alias)
    assert source.read_text() == "precious"


def test_an_export_over_its_base_is_refused(tiny, tmp_path):
    base = tmp_path / "m-q8_0.gguf"
    base.write_bytes(tiny.gguf.read_bytes())
    with pytest.raises(UsageError, match=r"m-q8_0\.gguf: would replace .*, which is read"):
        export_model(base, None, tmp_path, ["f16", "q8_0"], name="m")
    assert [path.name for path in tmp_path.iterdir()] == ["m-q8_0.gguf"]
    assert base.read_bytes() == tiny.gguf.read_bytes()


def test_a_second_export_to_one_name_is_refused(tiny, tmp_path, monkeypatch):
    from ner_edge.export import pipeline

    def export_again(*arguments, **settings):
        export_model(tiny.folder, None, tmp_path, ["f32"], name="m")

    monkeypatch.setattr(pipeline, "write_models", export_again)
    with pytest.raises(NerEdgeError, match="m: another export is writing files of this name"):
        export_model(tiny.folder, None, tmp_path, ["f16"], name="m")
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".gguf"]


def test_a_recipe_that_was_read_stays(tiny, tmp_path):
    recipe = tmp_path / "m-a.toml"
    recipe.write_text('name = "a"\n[types]\n"blk.0.ffn_up.weight" = "q5_0"\n')
    alias = tmp_path / "m-a.gguf"
    alias.symlink_to(recipe)
    command = ["export", "--base", tiny.folder, "--name", "m", "-o", tmp_path]
    result = run(*command, "--recipe", recipe)
    assert_error(result, r"m-a\.gguf: would replace .*m-a\.toml, which is read", 2)
    assert recipe.read_text().startswith("name")


def test_an_adapter_alone_does_not_replace_its_base(tiny, tmp_path):
    base = tmp_path / "ner-lora.gguf"
    base.write_bytes(tiny.gguf.read_bytes())
    adapter = save_adapter(tmp_path / "ner", tiny.folder)
    result = run("export", adapter, "--base", base, "--adapter-only", "-o", tmp_path)
    assert_error(result, r"ner-lora\.gguf: would replace .*, which is read", 2)
    assert base.read_bytes() == tiny.gguf.read_bytes()


@pytest.mark.parametrize("name", ["m.md", "m-f16.json", "m-f16.Modelfile", "m-f16.gguf"])
def test_a_folder_in_the_way_is_told_before_anything_is_replaced(name, tiny, tmp_path):
    (tmp_path / name).mkdir()
    arguments = {"name": "m", "task": tiny.task, "card": True}
    with pytest.raises(UsageError, match=f"{re.escape(name)}: is a folder"):
        export_model(tiny.folder, None, tmp_path, ["f32", "f16"], **arguments)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_files_of_one_name_are_refused(tiny, tmp_path):
    recipe = Recipe("a", {"blk.0.ffn_up.weight": "q5_0"})
    with pytest.raises(UsageError, match=r"m-a\.json: would be written twice"):
        export_model(tiny.folder, None, tmp_path, [], name="m", recipes=[recipe, recipe])
    assert list(tmp_path.iterdir()) == []


def test_exports_whose_names_begin_alike_leave_each_other_alone(tiny, tmp_path, monkeypatch):
    """An export removes only what a killed export of the same name left behind."""
    patched = "ner_edge.export.pipeline.check_tokens"

    def export_another(*arguments):
        monkeypatch.setattr(patched, check_tokens)
        export_model(tiny.folder, None, tmp_path, ["f16"], name="m")
        return check_tokens(*arguments)

    monkeypatch.setattr(patched, export_another)
    export_model(tiny.folder, None, tmp_path, ["f32", "f16"], name="m-2", card=True)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert {"m-2-f32.gguf", "m-2-f32.json", "m-2-f16.json", "m-2.md", "m-f16.json"} <= names


def test_a_name_that_is_no_text_is_written_as_it_is(tiny, tmp_path):
    base = tmp_path / "a\udcff.gguf"
    base.write_bytes(tiny.gguf.read_bytes())
    (path,) = export_model(base, None, tmp_path, ["f16"], card=True)
    assert path.name == "a\udcff-f16.gguf"
    assert b"./a\xff-f16.gguf" in (tmp_path / "a\udcff.md").read_bytes()
