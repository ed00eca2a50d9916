"""Without a cache, only the commands that need one fail."""

import os
from pathlib import Path

import pytest
from command_line import assert_error, run, run_ok

from ner_edge.builtin import BUILT_IN, DEFAULT_MODEL
from ner_edge.files.cache import cache_dir, cache_folder
from ner_edge.models.resolve import BASES
from ner_edge.runtime.prefix import _WORTH_KEEPING
from ner_edge.tagger import Tagger


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """A cache that cannot be created, since a file has its name."""
    path = tmp_path / "no cache"
    path.write_text("a file")
    monkeypatch.setenv("NER_EDGE_CACHE", str(path))
    monkeypatch.delenv("NER_EDGE_BASE", raising=False)
    return path


def test_to_ask_for_it_makes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "new"))
    assert cache_dir() == tmp_path / "new"
    assert not list(tmp_path.iterdir())
    assert cache_folder("models").is_dir()


@pytest.fixture(scope="module")
def long(tiny, tmp_path_factory) -> Path:
    """A model whose instruction is worth keeping."""
    from exporting import export_model

    from ner_edge.task import Task

    task = Task("long", tiny.task.labels, "Find entities. " * _WORTH_KEEPING)
    (path,) = export_model(tiny.folder, None, tmp_path_factory.mktemp("long"), ["f16"], task=task)
    return path


def test_a_model_of_one_s_own_needs_none(long, no_cache):
    with Tagger.load(long, threads=1) as tagger:
        assert len(tagger._prompts.prefix) >= _WORTH_KEEPING
    tagged = run("tag", "-m", long, "--threads", "1", stdin="Zoe lives in Rome.\n")
    assert (tagged.exit_code, tagged.stderr) == (0, "")
    run_ok("info", long)


def test_an_evaluation_says_that_nothing_is_kept(tiny, no_cache, tmp_path):
    (tmp_path / "gold.conll").write_text("Zoe I-PER\nlives O\n")
    arguments = ["eval", tmp_path / "gold.conll", "-m", tiny.gguf, "--threads", "1"]
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.stderr == (
        f"warning: {no_cache / 'predictions'}: predictions cannot be kept (Not a directory), so "
        "a killed run would start over; set NER_EDGE_CACHE to another folder, or use "
        "--no-cache\n"
    )
    assert run(*arguments, "--no-cache").stderr == ""


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        (["tag"], "models"),
        (["info", DEFAULT_MODEL], "models"),
        (["export", "--base", "smollm2", "--out", "new"], "bases"),
    ],
)
def test_what_needs_one_names_the_way_out(command, folder, no_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*command, stdin="Zoe\n")
    message = (
        rf"^error: {no_cache / folder}: cannot be used as a cache \(Not a directory\); set "
        r"NER_EDGE_CACHE to a writable folder\n$"
    )
    assert_error(result, message)


def test_a_cache_that_may_only_be_read_serves(tmp_path, monkeypatch):
    """A read-only cache that an administrator filled."""
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path))
    monkeypatch.delenv("NER_EDGE_BASE", raising=False)
    base = cache_folder("bases") / BASES[BUILT_IN[DEFAULT_MODEL].base].file_name
    base.touch()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr("pathlib.Path.mkdir", lambda *_, **__: pytest.fail("written"))
    from ner_edge.models.resolve import named_base

    assert named_base("smollm2") == base
