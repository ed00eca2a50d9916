"""Passages: sentences of a document that are read together, in training and in llama.cpp."""

import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from exporting import export_model
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from test_reading import assert_close, bare, save_head, with_calibration
from tiny_models import save_adapter

from ner_edge.consistency import consistent
from ner_edge.data.corpus import Sentence
from ner_edge.data.documents import document_of
from ner_edge.data.labelled import scan_labelled
from ner_edge.eval.fit import Read, auto_result
from ner_edge.eval.gold import read_gold
from ner_edge.gguf.metadata import describe
from ner_edge.hf.prompts import PromptEncoder
from ner_edge.hf.word_head import HEAD_FILE, read_word_head
from ner_edge.passages import BREAK, passages
from ner_edge.runtime.reader import tokenize_words
from ner_edge.spans import Span
from ner_edge.tagger import Extent, Tagger, tag_documents
from ner_edge.tags import tags_of
from ner_edge.train.augment import Names, unpunctuated, with_other_names
from ner_edge.train.data import DataFile, DataSet, samples_of
from ner_edge.train.loss import read_packed
from ner_edge.train.packing import pack
from ner_edge.train.passages import LONGEST, cut, joined
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import open_start

MOST = 12  # words of a passage
DOCUMENT = [
    Sentence(text.split(), [Span(*span) for span in spans])
    for text, *spans in (
        ("Ada Lovelace lived in London .", (0, 2, "PER"), (4, 5, "LOC")),
        ("Zürich", (0, 1, "LOC")),
        ("She knew Babbage .", (2, 3, "PER")),
        ("The European Commission met [ in ] Oslo | Rome on Thursday , 12 May .",),
        ("He left .",),
        ("Kim sings .", (0, 1, "PER")),
    )
]
WORDS = [sentence.words for sentence in DOCUMENT]


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """The folder of an adapter whose model was trained to read passages."""
    folder = save_adapter(tmp_path_factory.mktemp("passages") / "adapter", tiny.folder)
    tiny.task.save(folder)
    labels = list(tiny.task.labels)
    save_head(folder, labels, [1, 2], 32)
    tensors = load_file(folder / HEAD_FILE)
    metadata = {"labels": json.dumps(labels), "passage": str(MOST)}
    save_file(tensors, folder / HEAD_FILE, metadata=metadata)
    return folder


@pytest.fixture(scope="module")
def model(tiny, adapter, tmp_path_factory):
    (path,) = export_model(tiny.folder, adapter, tmp_path_factory.mktemp("model"), ["f16"])
    return path


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(0, 40))
def test_passages_are_as_long_as_fits(lengths: list[int], most: int) -> None:
    found = list(passages(lengths, lambda some: sum(some) <= most))
    assert [length for passage in found for length in passage] == lengths
    assert all(len(passage) == 1 or sum(passage) <= most for passage in found)
    for passage, following in itertools.pairwise(found):
        assert sum(passage) + following[0] > most


@given(st.lists(st.integers(1, 150), max_size=40), st.integers(0, 9))
def test_training_sees_all_of_a_document(lengths: list[int], seed: int) -> None:
    document = [Sentence(["a"] * length) for length in lengths]
    found = list(cut(document, random.Random(seed)))
    assert [sentence for passage in found for sentence in passage] == document
    for passage in found:
        assert len(passage) == 1 or sum(len(one.words) for one in passage) <= LONGEST


def test_training_sees_passages_of_all_lengths() -> None:
    document = [Sentence(["a"])] * 10_000
    lengths = {len(passage) for passage in cut(document, random.Random(1))}
    assert min(lengths) < 25
    assert max(lengths) > 95


def two_documents() -> DataSet:
    return DataSet(DataFile(Path("a.conll")), [DOCUMENT * 90, DOCUMENT[:1]], "", None)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_text_becomes_passages(share: float) -> None:
    settings = TrainSettings(passages=share, reading="both", seed=3)
    (samples,) = samples_of([two_documents()], settings)
    words = [w for sample in samples for w in sample.sentence.words if w != BREAK]
    assert sorted(words) == sorted(w for s in two_documents().sentences for w in s.words)
    breaks = sum(sample.sentence.words.count(BREAK) for sample in samples)
    in_passages = sum(len(s.sentence.words) for s in samples if s.passage) - breaks
    assert in_passages / len(words) == pytest.approx(share, abs=0.15)
    assert all((BREAK in sample.sentence.words) == sample.passage for sample in samples)
    assert samples[-1].origin == "sentence 541", "it stands alone, so it is written"
    starts = [sample.origin for sample in samples if sample.passage]
    assert share == 0 or re.fullmatch(r"the passage that begins with sentence \d+", starts[0])


def test_a_tenth_of_the_documents_are_read_with_sentences_of_others() -> None:
    documents = [[Sentence([f"{number}", "is"])] * 2 for number in range(1000)]
    data = DataSet(DataFile(Path("a.conll")), documents, "", None)
    (samples,) = samples_of([data], TrainSettings(passages=1.0, reading="both"))
    of = [{word for word in s.sentence.words if word.isdecimal()} for s in samples if s.passage]
    unrelated = {number for numbers in of if len(numbers) > 1 for number in numbers}
    assert len(unrelated) == pytest.approx(100, abs=30)
    assert sum(len(numbers) == 1 for numbers in of) >= 1000 - len(unrelated)


def test_an_entity_of_a_passage_is_always_replaced_by_the_same_one() -> None:
    names: Names = {"LOC": [("Rome",), ("Oslo",), ("New", "York"), ("Kyiv",)], "PER": [("Kim",)]}
    texts = ["LONDON BEATS KIM", "Kim left London .", "London"]
    others = [
        Sentence(texts[1].split(), [Span(0, 1, "PER"), Span(2, 3, "LOC")]),
        Sentence(["London"], [Span(0, 1, "LOC")]),
    ]
    passage = joined([Sentence(texts[0].split(), [Span(0, 1, "LOC"), Span(2, 3, "PER")]), *others])
    for seed in range(5):
        swapped = with_other_names(passage, names, random.Random(seed)).text.split(f" {BREAK} ")
        name = swapped[2]
        assert name != "London"
        assert swapped == [f"{name.upper()} BEATS KIM", f"Kim left {name} .", name]


def test_no_line_of_a_passage_is_empty(started, tiny) -> None:
    encoder = PromptEncoder(started.tokenizer, tiny.task)
    dashes = joined([Sentence(["--"]), DOCUMENT[1], Sentence(["."]), DOCUMENT[2], Sentence(["!"])])
    plain = joined([DOCUMENT[1], Sentence(DOCUMENT[2].words[:-1])])
    assert encoder.passage(unpunctuated(dashes)).prompt == encoder.passage(plain).prompt


@pytest.fixture(scope="module")
def started(tiny, adapter):
    settings = TrainSettings(rank=4, alpha=12, reading="both", dtype="float32")
    return open_start(str(tiny.folder), settings, adapter, None, list(tiny.task.labels))


def test_a_passage_has_the_tokens_of_its_sentences_on_lines_of_their_own(started, tiny) -> None:
    encoder = PromptEncoder(started.tokenizer, tiny.task)
    example = encoder.passage(joined(DOCUMENT))
    tokens: list[int] = []
    ends: list[int] = []
    tags: list[int] = []
    for sentence in DOCUMENT:
        alone = encoder.tagged_example(sentence)
        tokens += encoder._encode(BREAK) if tokens else []
        ends += [len(tokens) + end for end in alone.word_ends]
        tags += alone.tags
        tokens += alone.prompt[: alone.sentence]
    assert (example.prompt, example.response) == (tokens, [])
    assert (list(example.word_ends), list(example.tags)) == (ends, tags)
    assert example.sentence == len(tokens)


def test_llama_cpp_reads_passages_as_torch_does(started, model, tiny) -> None:
    encoder = PromptEncoder(started.tokenizer, tiny.task)
    base = started.model.get_base_model()
    expected = []
    with torch.inference_mode():
        for passage in passages(DOCUMENT, lambda some: sum(len(s.words) for s in some) <= MOST):
            batch = pack(encoder.prefix, [encoder.passage(joined(passage))])
            states = read_packed(base, batch, all_states=True).hidden_states
            logits = base.word_head(states[-1][0, batch.words], base.word_head.last)
            expected.append(logits.log_softmax(-1).numpy())
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        chunks = loaded._engine.chunks
        tokens, ends = tokenize_words(WORDS, chunks)
        ours = encoder.passage(joined(DOCUMENT))
        assert (tokens, ends) == (ours.prompt, ours.word_ends)
        found = [decoded.reading.log_probabilities for decoded in loaded.tag_and_read(WORDS)]
    assert [len(rows) for rows in found] == [len(words) for words in WORDS]
    rows = np.split(np.concatenate(expected), np.cumsum([len(words) for words in WORDS])[:-1])
    np.testing.assert_allclose(
        np.concatenate(found), np.concatenate(consistent(WORDS, rows)), atol=0.02
    )


def test_the_file_says_how_long_passages_are(model, adapter, tiny) -> None:
    assert read_word_head(adapter).passage == describe(model).word_head.passage == MOST
    assert dict(describe(model).rows())["passages"] == f"up to {MOST} words"
    assert "passages" not in dict(describe(tiny.gguf).rows())


def read(model, sentences, **settings):
    with Tagger.load(model, threads=1, **settings) as loaded:
        return [decoded.reading.words for decoded in loaded.tag_and_read(sentences) if decoded[1]]


def close(ours, theirs) -> bool:
    return all(a == pytest.approx(b, abs=0.02) for a, b in zip(ours, theirs, strict=True))


def test_a_passage_fits_the_context(model, monkeypatch) -> None:
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        chunks, prefix = loaded._engine.chunks, loaded._engine._prefix
        two = sum(len(chunks.of_words(words)) + 1 for words in WORDS[:2])
        assert loaded._engine.fit_together(WORDS[:2])
        for room, fits in ((prefix + two, True), (prefix + two - 1, False)):
            monkeypatch.setattr(loaded._model, "trained_context", room)
            assert loaded._engine.fit_together(WORDS[:2]) is fits


def test_auto_writes_what_is_in_doubt_alone(model, tmp_path) -> None:
    """As the copy decoder would, but for what its reading in the passage says."""
    with Tagger.load(model, threads=1) as loaded:
        loaded.write_all()
        written = list(loaded.tag_and_read(WORDS))
    least = sorted(min(decoded.reading.words) for decoded in written)
    threshold = sum(least[3:5]) / 2
    path = with_calibration(model, tmp_path / "auto.gguf", threshold=threshold)
    with Tagger.load(path, threads=1) as loaded:
        found = list(loaded.tag_and_read(WORDS))
    assert close([d.reading.words for d in found], read(model, WORDS, decoder="read"))
    expected = [
        auto_result(Read(set(), [Span(*span[:3]) for span in spans], reading), threshold)
        for spans, reading in written
    ]
    assert bare(decoded.spans for decoded in found) == expected
    assert expected != bare(decoded.spans for decoded in written)
    assert expected != bare(decoded.reading.spans for decoded in written)


def test_an_empty_sentence_ends_a_document(model) -> None:
    """What stands before it does not count."""
    alone = [read(model, [words], decoder="read")[0] for words in WORDS]
    apart = [part for words in WORDS for part in (words, [])]
    assert close(read(model, apart, decoder="read"), alone)
    together = read(model, WORDS, decoder="read")
    assert not close(together, alone)
    assert close([together[3][:2]], [alone[3][:2]]), "it is longer than a passage"
    twice = read(model, [*WORDS, [], *WORDS], decoder="read")
    assert close(twice, together * 2)


def test_only_reading_sees_the_passage(model) -> None:
    for decoder in ("copy", "grammar"):
        with Tagger.load(model, threads=1, decoder=decoder) as loaded:
            together = list(loaded.tag_words(WORDS))
            assert_close(together, [next(loaded.tag_words([words])) for words in WORDS])


def places(entities):
    return [(entity.start, entity.end, entity.label) for entity in entities]


def test_a_text_is_a_document(model) -> None:
    text = "\n\n".join(" ".join(words) for words in WORDS)
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        alone = places(loaded(text))
        piped = [places(found) for found in loaded.pipe([text, "Kim left .", text])]
        assert piped == [alone, places(loaded("Kim left .")), alone]
        assert [place for found in loaded.stream(text) for place in places(found)] == alone


def test_the_lines_of_a_document_have_consistent_labels(model) -> None:
    """Each is read alone."""
    lines = ["", *(" ".join(words) for words in WORDS), " ", ""]
    apart = [part for words in WORDS for part in (words, [])]
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        alone = [d.reading.log_probabilities for d in loaded.tag_and_read(apart) if d.reading]
        results = list(loaded.tag_and_read(apart, document=True))
        found = list(loaded.pipe(lines, document=True))
        assert list(loaded.pipe([], document=True)) == []
    rows = [decoded.reading.log_probabilities for decoded in results if decoded.reading]
    expected = consistent(WORDS, alone)
    np.testing.assert_allclose(np.concatenate(rows), np.concatenate(expected), atol=0.02)
    assert not np.allclose(np.concatenate(rows), np.concatenate(alone), atol=0.1)
    spans = [[], *(decoded.spans for decoded in results[::2]), [], []]
    assert [len(entities) for entities in found] == [len(of_line) for of_line in spans]
    scores = [entity.score for entities in found for entity in entities]
    assert scores == pytest.approx([s.score for of_line in spans for s in of_line], abs=0.02)


def test_sentences_up_to_a_docstart_line_are_a_document(model) -> None:
    docstart = document_of(Sentence(["-DOCSTART-"]), 1)
    sentences = [document_of(sentence, 1) for sentence in DOCUMENT]
    file = [*sentences, docstart, *sentences[3:]]
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        found = list(tag_documents(loaded, file, Extent.DOCSTART))
        expected = list(loaded.tag_words([*WORDS, [], *WORDS[3:]]))
        apart = list(tag_documents(loaded, sentences))
        alone = [next(loaded.tag_words([words])) for words in WORDS]
    assert [document.sentences for document in found] == [document.sentences for document in file]
    for documents, spans in ((found, expected), (apart, alone)):
        assert [len(document.spans) for document in documents] == list(map(len, spans))
        scores = [span.score for document in documents for span in document.spans]
        assert scores == pytest.approx([s.score for of in spans for s in of], abs=0.02)


def test_a_long_document_is_read_in_parts(model, monkeypatch) -> None:
    monkeypatch.setattr("ner_edge.runtime.word_tagger.DOCUMENT", 8)
    with Tagger.load(model, threads=1, decoder="read") as loaded:
        documents = list(loaded._documents([*WORDS[:3], [], [], [], *WORDS[3:]], one=True))
        assert [[sum(map(len, p)) for p in document] for document in documents] == [
            [7],
            [4, 0, 0, 0],
            [16],
            [6],
        ]
        assert [list(d) for d in loaded._documents([["Ada"], [], ["Kim"]], one=False)] == [
            [[["Ada"]]],
            [[[]]],
            [[["Kim"]]],
        ]


CONLL = "-DOCSTART- O\n\nAda I-PER\n\nLondon I-LOC\n\n-DOCSTART- O\n\nKim I-PER\n. O\n"


def conll(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(CONLL)
    return path


def jsonl(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = [
        {"text": "Ada\n\nLondon", "entities": [[0, 3, "PER"], [5, 11, "LOC"]]},
        {"text": "Kim .", "entities": [[0, 3, "PER"]]},
    ]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    return path


def test_sentences_of_a_file_without_documents_stand_alone(tmp_path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("Ada I-PER\n\nLondon I-LOC\n")
    assert [len(document) for document in scan_labelled(path).documents()] == [1, 1]
    assert list(read_gold(path).words()) == [["Ada"], [], ["London"]]


@pytest.mark.parametrize("write", [conll, jsonl])
def test_a_file_says_where_documents_begin(write: Callable[[Path], Path], tmp_path) -> None:
    path = write(tmp_path)
    documents = scan_labelled(path).documents()
    assert [[s.words for s in document] for document in documents] == [
        [["Ada"], ["London"]],
        [["Kim", "."]],
    ]
    gold = read_gold(path)
    assert list(gold.words()) == [["Ada"], ["London"], [], ["Kim", "."]]
    assert list(gold.words(2)) == [["Kim", "."]]
    assert list(gold.words(1, 2)) == [["London"]]


def test_tags_of_a_passage_leave_the_breaks_out(started, tiny) -> None:
    passage = joined(DOCUMENT[:3])
    assert passage.words.count(BREAK) == 2
    tags = PromptEncoder(started.tokenizer, tiny.task).passage(passage).tags
    labels = list(tiny.task.labels)
    expected = [tag for s in DOCUMENT[:3] for tag in tags_of(s.spans, len(s.words), labels)]
    assert list(tags) == expected
