"""The tagger's entities in pasted text, and the types of its arguments."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain, islice, repeat
from pathlib import Path

import pytest
from conftest import TinyModel
from hypothesis import given
from hypothesis import strategies as st
from stub_model import StubModel

from ner_edge.data.documents import Document
from ner_edge.data.formats.conll import write_conll
from ner_edge.data.formats.format import Losses
from ner_edge.errors import UsageError
from ner_edge.tagger import Tagger, tag_documents
from ner_edge.task import load_task
from ner_edge.visible import VisibleText, is_blank

PASTED = "\u200eZoe Smith\u200f met Em\xadmanuel\u200b in\ufeff Rome\u200b.\ufe0f"
PLAIN = "Zoe Smith met Emmanuel in Rome."


def stub() -> Tagger:
    return Tagger(
        StubModel(512, context=4096), Path("stub.gguf"), load_task("conll2003-short"), "copy"
    )


@pytest.fixture
def tagger(tiny: TinyModel) -> Iterator[Tagger]:
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        yield tagger


def test_invisible_characters_make_no_difference_but_to_offsets(tagger: Tagger) -> None:
    plain, pasted = tagger.pipe([PLAIN, PASTED])
    assert plain
    assert [VisibleText(entity.text).text for entity in pasted] == [e.text for e in plain]
    assert [entity.text for entity in pasted] == [PASTED[e.start : e.end] for e in pasted]
    documents = tag_documents(tagger, [Document(1, PLAIN, []), Document(2, PASTED, [])])
    first, second = write_conll(documents, Losses())
    assert first == second


@given(st.text(st.sampled_from("aB .[|\u0301\u200b\u200d\u200c\xad\ufe0f\ufeff\0字مक्👩🇩ไ่❤")))
def test_no_entity_begins_or_ends_with_what_cannot_be_seen(text: str) -> None:
    for entity in stub()(text):
        assert entity.text == text[entity.start : entity.end]
        assert not is_blank(entity.text[0])
        assert not is_blank(entity.text[-1])


def test_scripts_without_spaces_have_entities_of_characters(tagger: Tagger) -> None:
    texts = ["王芳住在北京。", "東京タワーへ行く", "สมชายอยู่ที่กรุงเทพ", "ເມືອງລາວ", "ភ្នំពេញ", "မြန်မာ"]
    found = list(tagger.pipe(texts))
    assert all(found)
    assert any(entity.start > 0 for entities in found for entity in entities)
    assert any(
        entity.end < len(text) for text, es in zip(texts, found, strict=True) for entity in es
    )


def test_blank_texts_without_end_do_not_hold_up_results() -> None:
    tagger = stub()
    assert next(tagger.pipe(repeat(" "))) == []
    found = tagger.pipe(chain([PLAIN, "", PLAIN], repeat("")))
    assert list(islice(found, 5)) == [tagger(PLAIN), [], tagger(PLAIN), [], []]
    words = PLAIN[:-1].split()
    tagged = tagger.tag_words(chain([[], words], repeat([])))
    assert [bool(spans) for spans in islice(tagged, 3)] == [False, True, False]


def test_one_text_and_many_texts_are_told_apart() -> None:
    tagger = stub()
    with pytest.raises(TypeError) as caught:
        tagger(["a", "b"])  # type: ignore[arg-type]  # a user's mistake
    assert str(caught.value) == ("a tagger takes one text (str), not list; `pipe` takes many texts")
    with pytest.raises(TypeError) as caught:
        tagger.pipe("Ada")
    assert str(caught.value) == (
        "`pipe` takes many texts, not one str; call the tagger itself for that"
    )
    with pytest.raises(TypeError, match=r"^`pipe` takes texts \(str\), not bytes$"):
        list(tagger.pipe(["Ada", b"Ada"]))  # type: ignore[list-item]  # a user's mistake
    with pytest.raises(TypeError, match=r"^a sentence is a list of words, not a str$"):
        list(tagger.tag_words(["Ada"]))
    assert list(tagger.pipe([])) == []


def test_entities_as_gliner_returns_them(tagger: Tagger) -> None:
    texts = [PLAIN, "Nobody.", "Zoe Smith lives in New York ."]
    found = tagger.batch_predict_entities(texts, threshold=0)
    assert any(found)
    assert found == [[asdict(entity) for entity in entities] for entities in tagger.pipe(texts)]
    (alone,) = tagger.pipe([PLAIN])
    assert tagger.predict_entities(PLAIN, threshold=0) == [asdict(entity) for entity in alone]
    for text, entities in zip(texts, found, strict=True):
        for entity in entities:
            assert list(entity) == ["start", "end", "text", "label", "score"]
            assert text[entity["start"] : entity["end"]] == entity["text"]
    scores = sorted(entity["score"] for entities in found for entity in entities)
    limit = scores[len(scores) // 2]
    kept = tagger.batch_predict_entities(texts, ["PER"], threshold=limit)
    assert kept == [
        [e for e in entities if e["label"] == "PER" and e["score"] >= limit] for entities in found
    ]


def test_labels_that_the_model_does_not_have_are_refused(tagger: Tagger) -> None:
    with pytest.raises(UsageError, match="this model has no label person, only PER, LOC"):
        tagger.predict_entities(PLAIN, ["PER", "person"])
    with pytest.raises(TypeError, match="name the threshold"):
        tagger.predict_entities(PLAIN, 0.5)  # type: ignore[arg-type]
