"""Agreement is measured at the baseline's own decisions, once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exporting import export_model

from ner_edge.errors import ModelError, NerEdgeWarning
from ner_edge.eval import agreement
from ner_edge.eval.agreement import Agreement, BaselineDecisions
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.runtime import engine
from ner_edge.spans import Span
from ner_edge.tagger import Tagger


@pytest.fixture(scope="module")
def gold(tmp_path_factory: pytest.TempPathFactory) -> Gold:
    path = tmp_path_factory.mktemp("gold") / "gold.conll"
    sentence = "Ada B-PER\nlives O\nin O\nLondon B-LOC\n. O\n\n"
    path.write_text(sentence * 3 + sentence.replace("Ada", "Zoe"))
    return read_gold(path)


@pytest.fixture(scope="module")
def predictions(tiny, gold: Gold) -> list[list[Span]]:
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        found = tagger.tag_words([sentence.words for sentence in gold.sentences])
        return [[Span(*span[:3]) for span in spans] for spans in found]


@pytest.fixture(scope="module")
def coarse(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coarse")
    (path,) = export_model(tiny.folder, None, folder, ["q4_0"], task=tiny.task)
    return path


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """Every file that is read from now on, and how many answers with it."""
    seen: list[tuple[Path, int]] = []
    read = agreement._read

    def count(path: Path, answers: Sequence[Any], *settings: Any) -> Any:
        seen.append((path, len(answers)))
        return read(path, answers, *settings)

    monkeypatch.setattr(agreement, "_read", count)
    return seen


def test_a_model_agrees_with_itself(tiny, gold, predictions):
    found = BaselineDecisions(tiny.gguf, gold, predictions, threads=1).agreement(tiny.gguf)
    assert found is not None
    assert found.mean_kl == 0
    assert found.same_branch == 100
    assert found.decisions >= 5 * len(gold.sentences), "before each word, at least"


def test_the_baseline_is_read_once(tiny, coarse, gold, predictions, files_read):
    decisions = BaselineDecisions(tiny.gguf, gold, predictions, threads=1)
    assert files_read == []
    first, again = decisions.agreement(coarse), decisions.agreement(coarse)
    assert first == again
    assert first.mean_kl > 1e-6
    assert [path for path, _ in files_read] == [tiny.gguf, coarse, coarse]


def test_what_is_kept_needs_no_reading(
    tiny, coarse, gold, predictions, files_read, tmp_path, monkeypatch
):
    def measured():
        settings = {"threads": 1, "cache_dir": tmp_path}
        return BaselineDecisions(tiny.gguf, gold, predictions, **settings).agreement(coarse)

    found = measured()
    assert len(files_read) == 2
    assert measured() == found
    assert len(files_read) == 2
    (kept,) = tmp_path.iterdir()
    assert "Ada" not in kept.read_text()
    kept.write_text("{")
    assert measured() == found
    assert len(files_read) == 4
    monkeypatch.setattr(engine, "DECODER_VERSION", engine.DECODER_VERSION + 1)
    assert measured() == found
    assert len(files_read) == 6


def test_few_sentences_of_many_are_read(tiny, gold, predictions, files_read, monkeypatch):
    monkeypatch.setattr(agreement, "SENTENCES", 2)
    found = BaselineDecisions(tiny.gguf, gold, predictions, threads=1).agreement(tiny.gguf)
    assert files_read == [(tiny.gguf, 2)] * 2
    assert isinstance(found, Agreement)


def test_other_labels_have_other_decisions(tiny, gold, predictions, files_read, tmp_path):
    task = replace(tiny.task, labels={"PER": "person"})
    (other,) = export_model(tiny.folder, None, tmp_path, ["f16"], task=task)
    assert BaselineDecisions(tiny.gguf, gold, predictions, threads=1).agreement(other) is None
    assert files_read == []


def test_a_failure_is_a_warning_and_no_figure(tiny, coarse, gold, predictions, monkeypatch):
    def fail(*_: Any) -> Any:
        raise ModelError("too long")

    monkeypatch.setattr(agreement, "_read", fail)
    with pytest.warns(NerEdgeWarning, match=r"q4_0\.gguf: its agreement with .*\(too long\)"):
        assert BaselineDecisions(tiny.gguf, gold, predictions).agreement(coarse) is None
