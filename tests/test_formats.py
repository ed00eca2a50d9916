"""Every format reads what it writes: the same texts, entities, offsets, and what else it holds."""

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ner_edge.data.convert import fitting
from ner_edge.data.corpus import DOCSTART, Sentence
from ner_edge.data.documents import CharSpan, Document, document_of, outermost
from ner_edge.data.formats.contents import ReadOptions
from ner_edge.data.formats.format import Format, Holds, Losses
from ner_edge.data.formats.table import FORMATS
from ner_edge.data.labelled import read_labelled, scan_documents
from ner_edge.data.save import save_documents
from ner_edge.spans import Span

NEEDS = {"spacy": "spacy", "parquet": "pyarrow"}


def read_and_written(*holds: Holds) -> list[Any]:
    """Parameters: the formats that are both read and written, and that hold all of `holds`."""
    params = []
    for name, format in FORMATS.items():
        if format.read is None or not format.holds.issuperset(holds):
            continue
        absent = name in NEEDS and find_spec(NEEDS[name]) is None
        marks = pytest.mark.skipif(absent, reason=f"needs {NEEDS.get(name)}")
        params.append(pytest.param(format, id=name, marks=marks))
    return params


LABELS = st.sampled_from(["PER", "LOC", "WORK_OF_ART", "B-PER", "O", "é-1"])
TEXTS = st.text(
    st.one_of(
        st.sampled_from("aB 1.,;\"'\\\t\n\r\0\x85\u2028\ufeff\u200b\xad\u0301\xa0[{#-😀👩\u200d東"),
        st.characters(codec="utf-8"),
    ),
    max_size=40,
)
FIELD_NAMES = st.sampled_from(["id", "source", "Größe", "a b"])
FIELDS = st.dictionaries(FIELD_NAMES, st.text(st.characters(codec="utf-8"), max_size=8))


@st.composite
def documents(draw: st.DrawFn, *, scores: bool = False) -> Document:
    text = draw(TEXTS)
    spans = []
    for _ in range(draw(st.integers(0, 4)) if text else 0):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        score = draw(st.floats(0, 1)) if scores else None
        spans.append(CharSpan(start, end, draw(LABELS), score))
    return Document(1, text, sorted(set(spans)))


WORDS = st.text(
    st.one_of(st.sampled_from("aB1.,\"'-#[]{}|\\😀\u0301東"), st.characters(codec="utf-8")),
    min_size=1,
    max_size=6,
).filter(
    lambda word: (
        word.split() == [word] and "\0" not in word and word[0] != "\ufeff" and word != DOCSTART
    )
)


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    words = draw(st.lists(WORDS, min_size=1, max_size=8))
    spans = []
    end = 0
    while end < len(words) and draw(st.booleans()):
        start = draw(st.integers(end, len(words) - 1))
        end = draw(st.integers(start + 1, len(words)))
        spans.append(Span(start, end, draw(LABELS)))
    return Sentence(words, spans)


def written(texts: Sequence[Document], format: Format, losses: Losses) -> list[Document]:
    """Write the texts and read them again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"x{''.join(format.suffixes[:1])}")
        save_documents(texts, format, path, losses)
        return scan_documents(path, ReadOptions(), format.name).documents


def content(texts: Sequence[Document]) -> list[tuple[str, list[CharSpan]]]:
    return [(document.text, sorted(document.spans)) for document in texts]


@pytest.mark.parametrize("format", read_and_written(Holds.TEXT))
@settings(max_examples=60)
@given(st.lists(documents(), min_size=1, max_size=3))
@example([Document(1, "\ufeffa", [CharSpan(1, 2, "PER")])])
@example([Document(1, "Ada\r\nLovelace", [CharSpan(0, 13, "PER")])])
@example([Document(1, "Ada\r", [CharSpan(0, 3, "PER")])])
def test_texts_and_offsets_come_back(format: Format, texts: list[Document]) -> None:
    losses = Losses()
    texts = list(fitting(texts, format, losses))
    back = written(texts, format, losses)
    if not +losses.unkept and losses.entities == 0:
        assert content(back) == content(texts)
    else:  # what a format cannot hold are line breaks and spaces at the ends of entities
        assert format.name in ("brat", "spacy")
        assert [document.text for document in back] == [document.text for document in texts]
        stripped = [
            sorted((d.text[start:end].strip(), label) for start, end, label, _ in d.spans)
            for d in texts
        ]
        found = [
            sorted((d.text[start:end].strip(), label) for start, end, label, _ in d.spans)
            for d in back
        ]
        assert found == [[pair for pair in pairs if pair[0]] for pairs in stripped]


@pytest.mark.parametrize("format", read_and_written(Holds.TEXT, Holds.SCORES))
@settings(max_examples=30)
@given(documents(scores=True))
def test_scores_come_back_exactly(format: Format, document: Document) -> None:
    (back,) = written([document._replace(predicted=True)], format, Losses())
    assert content([back]) == content([document])


@pytest.mark.parametrize("format", read_and_written(Holds.TEXT, Holds.FIELDS))
@settings(max_examples=30)
@given(TEXTS, FIELDS)
def test_other_fields_come_back(format: Format, text: str, fields: dict[str, Any]) -> None:
    (back,) = written([Document(1, text, [], fields=fields)], format, Losses())
    assert (back.text, back.fields) == (text, fields)


@pytest.mark.parametrize("format", read_and_written(Holds.WORDS))
@settings(max_examples=60)
@given(st.lists(sentences(), min_size=1, max_size=3))
def test_words_come_back(format: Format, expected: list[Sentence]) -> None:
    losses = Losses()
    back = written([document_of(sentence, 1) for sentence in expected], format, losses)
    assert (losses.entities, +losses.unkept) == (0, {})
    assert content(back) == content([document_of(sentence, 1) for sentence in expected])
    words = [[[word.text for word in s] for s in document.sentences or []] for document in back]
    assert words == [[sentence.words] for sentence in expected]


@pytest.mark.parametrize("format", read_and_written(Holds.WORDS))
@settings(max_examples=40)
@given(documents())
def test_what_words_cannot_hold_is_counted(format: Format, document: Document) -> None:
    losses = Losses()
    flat = list(fitting([document], format, losses))
    back = written(flat, format, losses)
    assert sum(len(d.spans) for d in back) == len(document.spans) - losses.entities
    assert losses.entities == 0 or losses.left_out


@pytest.mark.parametrize("format", read_and_written())
def test_the_format_is_recognized(format: Format, tmp_path: Path) -> None:
    sentence = Sentence(["Ada", "lives", "in", "Rome"], [Span(0, 1, "PER"), Span(3, 4, "LOC")])
    path = tmp_path / f"x{''.join(format.suffixes[:1])}"
    save_documents([document_of(sentence, 1)], format, path, Losses())
    assert read_labelled(path) == [sentence]


@given(documents())
def test_flat_entities_are_the_longest(document: Document) -> None:
    kept, dropped = outermost(document.spans)
    assert sorted(kept + dropped) == sorted(set(document.spans))
    assert all(first.end <= second.start for first, second in pairwise(kept))
    for span in dropped:
        assert any(
            other.start < span.end
            and span.start < other.end
            and other.end - other.start >= span.end - span.start
            for other in kept
        )
