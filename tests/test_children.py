"""Child processes import the installed package, whatever lies in the working directory."""

import re
from pathlib import Path

import pytest
from command_line import run, run_ok

from ner_edge.documents.extract import extract
from ner_edge.runtime.trial import ensure_loadable

ROOMS = ("ner_edge", "train", "export", "runtime", "eval")
CHILDREN = {
    "ner_edge.documents.extract",
    "ner_edge.eval.cost",
    "ner_edge.export.quantize.llama_quantize",
    "ner_edge.runtime.trial",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working directory; whoever imports a package from it ends."""
    for package in ("ner_edge", "llama_cpp"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_the_first_load_of_a_model(tiny, folder):
    ensure_loadable(tiny.gguf)
    assert list((folder / "cache" / "loadable").iterdir())  # only a child that ran leaves a mark


def test_quantization(tiny):
    run_ok("export", "--base", tiny.gguf, "-q", "q8_0", "-q", "q4_0", "-o", "out", "--name", "x")
    assert Path("out", "x-q4_0.gguf").exists()


def test_the_measurement_of_memory_and_speed(tiny):
    Path("gold.conll").write_text("Ada B-PER\nlives O\n\n")
    result = run("eval", "gold.conll", "-m", tiny.gguf, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "could not be measured" not in result.stderr


def test_the_text_of_a_document(tmp_path):
    pytest.importorskip("bs4")
    page = tmp_path / "a.html"
    page.write_text("<p>Ada</p>")
    assert extract(page) == "Ada\n"


def test_every_child_is_one_of_these_and_ignores_the_working_directory():
    found = set()
    for room in ROOMS:
        for path in (Path(__file__).parent.parent / room).rglob("*.py"):
            for before, module in re.findall(r'(.*)"-m",\s*"(ner_edge[\w.]*)"', path.read_text()):
                assert '"-P",' in before, path
                found.add(module)
    assert found == CHILDREN
