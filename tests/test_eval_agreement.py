"""Agreement is measured at the baseline's own decisions, once."""

from pathlib import Path

import pytest

from ner_edge.eval import agreement
from ner_edge.eval.agreement import Agreement, measured_agreement
from ner_edge.eval.gold import Gold, read_gold
from ner_edge.export.pipeline import export_model
from ner_edge.runtime.tagger import Tagger
from ner_edge.spans import Span


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


def test_a_model_agrees_with_itself(tiny, gold, predictions):
    found = measured_agreement(tiny.gguf, tiny.gguf, gold, predictions, threads=1)
    assert found.mean_kl == 0
    assert found.same_branch == 100
    assert found.decisions >= 5 * len(gold.sentences), "before each word, at least"


def test_a_coarser_one_does_not_and_is_read_once(tiny, gold, predictions, tmp_path, monkeypatch):
    (coarse,) = export_model(tiny.folder, None, tmp_path, ["q4_0"], task=tiny.task)
    arguments = (coarse, tiny.gguf, gold, predictions)
    found = measured_agreement(*arguments, threads=1, cache_dir=tmp_path / "cache")
    assert found.mean_kl > 1e-6
    monkeypatch.setattr(agreement, "_reader", None)
    assert measured_agreement(*arguments, threads=1, cache_dir=tmp_path / "cache") == found
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("{")
    with pytest.raises(TypeError):  # it would read again
        measured_agreement(*arguments, cache_dir=tmp_path / "cache")


def test_few_sentences_of_many_are_read(tiny, gold, predictions, monkeypatch):
    seen: list[int] = []

    def reader(threads: int | None, gpu_layers: int | None) -> object:
        return lambda path, answers: seen.append(len(answers)) or []

    monkeypatch.setattr(agreement, "SENTENCES", 2)
    monkeypatch.setattr(agreement, "_reader", reader)
    found = measured_agreement(Path(tiny.gguf), tiny.gguf, gold, predictions)
    assert seen == [2, 2]
    assert found == Agreement(0.0, 0.0, 0)
