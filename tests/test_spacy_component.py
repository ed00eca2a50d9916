"""The component `ner_edge` in pipelines of the real spaCy."""

import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.lang.en import English
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example

from ner_edge.errors import ModelError, UsageError
from ner_edge.integrations.spacy import add_entities
from ner_edge.runtime.tagger import Entity
from ner_edge.tagger import Tagger

TEXTS = ["Zoe lives in Rome.", "", "Bob, Ann; and Max met Li in Oslo!", " \n ", "Rome"]
MODES = ("strict", "contract", "expand")
VOCAB = spacy.blank("en").vocab


@pytest.fixture
def nlp(tiny):
    """A pipeline that tags with the tiny model on one thread."""
    pipeline = spacy.blank("en")
    pipeline.add_pipe("ner_edge", config={"model": str(tiny.gguf), "threads": 1})
    return pipeline


@pytest.fixture(scope="module")
def tagger(tiny):
    with Tagger.load(tiny.gguf, threads=1) as loaded:
        yield loaded


def found(doc: Doc) -> list[tuple[str, str, Any]]:
    # The last digits of a score depend on the sentences that are decoded with it.
    return [(span.text, span.label_, pytest.approx(span._.score, abs=0.01)) for span in doc.ents]


def expected(tagger: Tagger, text: str) -> list[tuple[str, str, float]]:
    """The entities of a text whose words are tokens of spaCy too."""
    return [(entity.text, entity.label, entity.score) for entity in tagger(text)]


def test_spacy_finds_the_component_without_an_import():
    program = (
        "import sys, spacy; print(spacy.blank('en').add_pipe('ner_edge').name)\n"
        "print('llama_cpp' in sys.modules)"  # which would slow down every pipeline
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert printed.stdout == "ner_edge\nFalse\n", printed.stderr


def test_a_text_gets_the_entities_of_the_tagger(nlp, tagger):
    entities = [expected(tagger, text) for text in TEXTS]
    assert any(entities)
    assert [found(nlp(text)) for text in TEXTS] == entities
    assert [found(doc) for doc in nlp.pipe(TEXTS)] == entities


def test_entities_below_the_least_score_are_left_out(tiny, tagger):
    scores = sorted(entity.score for text in TEXTS for entity in tagger(text))
    middle = len(scores) // 2
    least = (scores[middle - 1] + scores[middle]) / 2
    pipeline = spacy.blank("en")
    config = {"model": str(tiny.gguf), "threads": 1, "min_score": least}
    pipeline.add_pipe("ner_edge", config=config)
    kept = [span._.score for doc in pipeline.pipe(TEXTS) for span in doc.ents]
    assert sorted(kept) == pytest.approx(scores[middle:], abs=0.01)


@st.composite
def documents(draw):
    """A document that may have an entity already, and entities of a tagger at any offsets."""
    words = draw(st.lists(st.text("ab-é🙂", min_size=1, max_size=4), min_size=1, max_size=8))
    spaces = draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    doc = Doc(VOCAB, words=words, spaces=spaces)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(words))] * 2)))
    if start < end:
        doc.ents = [Span(doc, start, end, "OLD", kb_id="Q1", span_id="7")]
    places = st.lists(st.integers(0, len(doc.text)), max_size=12, unique=True)
    edges = sorted(draw(places))
    entities = [
        Entity(a, b, doc.text[a:b], "NEW", draw(st.floats(0, 1)))
        for a, b in zip(edges[::2], edges[1::2], strict=False)
        if not doc.text[a:b].isspace()
    ]
    return doc, entities


@given(documents(), st.sampled_from(MODES))
def test_entities_are_aligned_as_spacy_does_or_left_out(document, mode):
    doc, entities = document
    old = doc.ents
    add_entities(doc, entities, mode)
    kept = [span for span in doc.ents if span.label_ == "OLD"]
    assert [(s, s.kb_id_, s.id_, s._.score) for s in kept] == [(s, "Q1", "7", None) for s in old]
    added = {(s.start, s.end): s._.score for s in doc.ents if s.label_ == "NEW"}
    for entity in entities:
        span = doc.char_span(entity.start, entity.end, "NEW", alignment_mode=mode)
        if span is None or added.get((span.start, span.end)) == entity.score:
            continue
        better = [score for (a, b), score in added.items() if a < span.end and b > span.start]
        in_old = any(s.start < span.end and s.end > span.start for s in old)
        assert in_old or max(better) >= entity.score
    aligned = [doc.char_span(e.start, e.end, "NEW", alignment_mode=mode) for e in entities]
    expected = {(s.start, s.end, e.score) for s, e in zip(aligned, entities, strict=True) if s}
    assert {(*place, score) for place, score in added.items()} <= expected


def test_an_entity_inside_a_token_is_expanded_or_left_out():
    entities = [Entity(0, 3, "New", "LOC", 0.6), Entity(4, 9, "Yorks", "PER", 0.9)]
    doc = Doc(VOCAB, words=["New-Yorks", "here"])
    add_entities(doc, entities, "strict")
    add_entities(doc, entities, "contract")
    assert found(doc) == []
    add_entities(doc, entities, "expand")
    assert found(doc) == [("New-Yorks", "PER", 0.9)]  # of two in one token, the better one


def test_entities_that_a_document_already_has_stay(nlp, tagger):
    text = "Bob, Ann; and Max met Li in Oslo!"
    first = tagger(text)[0]
    ruler = nlp.add_pipe("entity_ruler", before="ner_edge")
    ruler.add_patterns([{"label": "RULE", "pattern": first.text, "id": "known"}])
    doc = nlp(text)
    assert [(span.label_, span.id_) for span in doc.ents if span.text == first.text] == [
        ("RULE", "known")
    ]
    assert [span for span in found(doc) if span[1] != "RULE"] == expected(tagger, text)[1:]


def test_scores_survive_bytes_and_docbin(nlp):
    doc = nlp(TEXTS[2])
    assert found(doc)
    assert found(Doc(nlp.vocab).from_bytes(doc.to_bytes())) == found(doc)
    stored = DocBin(store_user_data=True, docs=[doc]).to_bytes()
    (restored,) = DocBin().from_bytes(stored).get_docs(nlp.vocab)
    assert found(restored) == found(doc)


def test_a_saved_pipeline_contains_its_model(tiny, tagger, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(tiny.gguf, "my.gguf")
    pipeline = spacy.blank("en")
    config = {"model": "my.gguf", "threads": 1, "alignment_mode": "strict"}
    pipeline.add_pipe("ner_edge", config=config)
    pipeline.to_disk("saved")
    (tmp_path / "my.gguf").unlink()
    (tmp_path / "saved").rename("moved")
    loaded = spacy.load("moved")
    assert found(loaded(TEXTS[0])) == expected(tagger, TEXTS[0])
    loaded.to_disk("moved")  # over itself, with the model in use
    assert found(spacy.load("moved")(TEXTS[0])) == expected(tagger, TEXTS[0])
    (tmp_path / "moved" / "ner_edge" / "model.gguf").unlink()
    with pytest.raises(ModelError, match=r"model\.gguf: no such file; save the pipeline again"):
        spacy.load("moved")


def test_a_pipeline_survives_bytes_and_pickle(nlp, tagger):
    nlp(TEXTS[0])  # loads the model, which is not pickled
    from_bytes = English.from_config(nlp.config).from_bytes(nlp.to_bytes())
    for copy in (from_bytes, pickle.loads(pickle.dumps(nlp))):
        assert found(copy(TEXTS[2])) == expected(tagger, TEXTS[2])


PROCESSES = """
import multiprocessing, sys
import spacy

if __name__ == "__main__":
    path, method = sys.argv[1:]
    multiprocessing.set_start_method(method)
    nlp = spacy.blank("en")
    nlp.add_pipe("ner_edge", config={"model": path, "threads": 2})
    texts = ["Zoe lives in Rome.", "Bob, Ann; and Max met Li in Oslo!"] * 3
    nlp(texts[0])  # on several threads, which a fork cannot use
    for doc in nlp.pipe(texts, n_process=2, batch_size=2):
        print([(span.text, span.label_) for span in doc.ents])
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_give_the_same_entities(tiny, tagger, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    command = [sys.executable, script, tiny.gguf, method]
    done = subprocess.run(command, capture_output=True, text=True)
    texts = [TEXTS[0], TEXTS[2]] * 3
    entities = [[(e.text, e.label) for e in tagger(text)] for text in texts]
    assert done.stdout.splitlines() == [str(spans) for spans in entities], done.stderr


def test_threads_share_one_model(nlp, tagger, monkeypatch):
    load = Mock(wraps=Tagger.load)
    monkeypatch.setattr(Tagger, "load", load)
    with ThreadPoolExecutor(8) as threads:
        docs = list(threads.map(nlp, TEXTS * 4))
    assert [found(doc) for doc in docs] == [expected(tagger, text) for text in TEXTS * 4]
    load.assert_called_once()


def test_a_wrong_setting_is_named():
    for config, named in (
        ({"alignment_mode": "exact"}, "alignment_mode"),
        ({"treshold": 0.5}, "treshold"),
        ({"model": 7}, "model"),
    ):
        with pytest.raises(ValueError, match=named):
            spacy.blank("en").add_pipe("ner_edge", config=config)
    with pytest.raises(UsageError, match="min_score is a probability, from 0 to 1, not 2"):
        spacy.blank("en").add_pipe("ner_edge", config={"min_score": 2.0})


def test_a_missing_model_is_named_at_the_first_text():
    pipeline = spacy.blank("en")
    pipeline.add_pipe("ner_edge", config={"model": "missing.gguf"})
    with pytest.raises(ModelError, match=r"^missing\.gguf: no such file"):
        pipeline(TEXTS[0])


def test_spacy_scores_the_component(nlp):
    gold = nlp(TEXTS[2])
    example = Example(nlp.make_doc(TEXTS[2]), gold)
    assert nlp.evaluate([example])["ents_f"] == 1
    assert nlp.analyze_pipes()["attrs"]["doc.ents"]["assigns"] == ["ner_edge"]
