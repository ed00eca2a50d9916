"""Memory and reading speed are measured in a process of their own, once."""

import subprocess
import sys
from pathlib import Path

import pytest

from ner_edge.errors import NerEdgeWarning
from ner_edge.eval import cost
from ner_edge.eval.cost import Cost, measured_cost
from ner_edge.eval.gold import read_gold


@pytest.fixture
def gold(tmp_path):
    path = tmp_path / "gold.conll"
    path.write_text("Zoe I-PER\nlives O\nin O\nRome I-LOC\n\nNothing O\n")
    return read_gold(path)


def test_a_model_is_measured_once(tiny, gold, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    first = measured_cost(tiny.gguf, gold, threads=1, cache_dir=folder)
    assert first.prompt_tokens_per_second > 0
    assert first.peak_bytes is None or first.peak_bytes > tiny.gguf.stat().st_size
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("measured again"))
    assert measured_cost(tiny.gguf, gold, threads=1, cache_dir=folder) == first
    (kept,) = folder.iterdir()
    assert "Zoe" not in kept.read_text()


@pytest.fixture
def fake(monkeypatch):
    """Stands for the process; counts how often it is asked."""
    asked = []

    def measure(request):
        asked.append(request)
        return Cost(7, float(len(asked)))

    monkeypatch.setattr(cost, "_in_new_process", measure)
    return asked


def test_another_model_or_setting_is_measured_anew(tiny, gold, tmp_path, fake):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"other")
    for path, threads in ((tiny.gguf, 1), (tiny.gguf, 2), (other, 1), (tiny.gguf, 1)):
        measured_cost(path, gold, threads=threads, cache_dir=tmp_path / "cache")
    assert len(fake) == 3


def test_without_a_cache_nothing_is_kept(tiny, gold, fake):
    assert measured_cost(tiny.gguf, gold) == Cost(7, 1)
    assert measured_cost(tiny.gguf, gold) == Cost(7, 2)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"peak": 1}'])
def test_a_damaged_record_is_measured_again(tiny, gold, tmp_path, fake, damage):
    measured_cost(tiny.gguf, gold, cache_dir=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text(damage)
    assert measured_cost(tiny.gguf, gold, cache_dir=tmp_path / "cache") == Cost(7, 2)


def test_a_failure_is_a_warning_and_no_figure(gold, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    with pytest.warns(NerEdgeWarning, match=r"could not be measured \(.*broken\.gguf"):
        assert measured_cost(broken, gold, cache_dir=tmp_path / "cache") is None
    assert not (tmp_path / "cache").exists()


def test_a_system_that_does_not_tell_its_memory(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda self: (_ for _ in ()).throw(FileNotFoundError))
    monkeypatch.setattr(sys, "platform", "win32")
    assert cost._peak_bytes() is None


def test_the_process_imports_nothing_from_the_working_directory(tiny, gold, tmp_path, monkeypatch):
    """There, a checkout has a `ner_edge` folder without the rooms that an installation has."""
    (tmp_path / "ner_edge").mkdir()
    (tmp_path / "ner_edge" / "__init__.py").write_text("raise SystemExit('the wrong ner_edge')")
    monkeypatch.chdir(tmp_path)
    assert measured_cost(tiny.gguf, gold, threads=1) is not None
