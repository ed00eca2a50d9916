"""Passages: what a model is asked about at once, and how its answer falls back to sentences."""

from dataclasses import replace
from itertools import pairwise, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.corpus import Sentence
from ner_edge.eval.gold import read_gold
from ner_edge.labelled import scan_labelled
from ner_edge.passages import joined, passages, split
from ner_edge.runtime.tagger import Tagger
from ner_edge.spans import ScoredSpan, Span
from ner_edge.train.augment import random_limits

LENGTHS = st.lists(st.integers(0, 9))
CORPUS = """\
Ada B-PER
left O

-DOCSTART- O

She O
saw O
York B-LOC

York B-LOC
slept O

-DOCSTART- O

Rain O
"""


@given(LENGTHS, st.integers(0, 20))
def test_passages_keep_every_sentence_in_order_and_their_limit(lengths: list[int], most: int):
    found = list(passages(enumerate(lengths), lambda item: item[1], repeat(most)))
    assert [item for passage in found for item in passage] == list(enumerate(lengths))
    for passage in found:
        assert len(passage) == 1 or sum(length for _, length in passage) <= most
    for passage, following in pairwise(found):
        assert sum(length for _, length in [*passage, following[0]]) > most


@given(LENGTHS, st.data())
def test_split_undoes_a_join(lengths: list[int], data: st.DataObject):
    sentences = []
    for length in lengths:
        starts = data.draw(st.sets(st.integers(0, length - 1))) if length else set()
        spans = [Span(start, start + 1, "PER") for start in sorted(starts)]
        sentences.append(Sentence(["word"] * length, spans))
    (passage,) = joined([sentences], repeat(sum(lengths))) or [Sentence([])]
    scored = [ScoredSpan(*span, 0.5) for span in passage.spans]
    parts = split(scored, lengths)
    assert [[Span(*span[:3]) for span in part] for part in parts] == [s.spans for s in sentences]


def test_an_entity_ends_with_its_sentence():
    runs_on = [ScoredSpan(1, 4, "ORG", 0.7), ScoredSpan(4, 5, "LOC", 0.6)]
    assert split(runs_on, [2, 0, 3]) == [
        [ScoredSpan(1, 2, "ORG", 0.7)],
        [],
        [ScoredSpan(2, 3, "LOC", 0.6)],
    ]


def test_documents_are_what_docstart_lines_or_lines_of_json_hold(tmp_path: Path):
    path = tmp_path / "corpus.conll"
    path.write_text(CORPUS)
    texts = [[s.text for s in document] for document in scan_labelled(path).documents()]
    assert texts == [["Ada left"], ["She saw York", "York slept"], ["Rain"]]
    assert read_gold(path).documents(1, 4) == [
        [["She", "saw", "York"], ["York", "slept"]],
        [["Rain"]],
    ]
    path.write_text(CORPUS.replace("-DOCSTART- O\n\n", ""))
    assert [len(document) for document in scan_labelled(path).documents()] == [1, 1, 1, 1]
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "Ada left. She slept.", "entities": []}\n' * 2)
    assert [len(document) for document in scan_labelled(path).documents()] == [2, 2]


def test_training_passages_are_of_all_lengths_and_never_cross_documents(tmp_path: Path):
    path = tmp_path / "corpus.conll"
    path.write_text("".join("-DOCSTART- O\n\n" + "Ada B-PER\nslept O\n\n" * 9 for _ in range(40)))
    documents = list(scan_labelled(path).documents())
    found = joined(documents, random_limits(10, seed=1))
    lengths = {len(passage.words) for passage in found}
    assert lengths == {2, 4, 6, 8, 10}
    assert sum(len(passage.words) for passage in found) == 40 * 18
    assert found == joined(documents, random_limits(10, seed=1))
    assert found != joined(documents, random_limits(10, seed=2))
    alone = joined(documents, random_limits(0, seed=1))
    assert alone == [sentence for document in documents for sentence in document]


@pytest.mark.parametrize("limit", [0, 12])
def test_a_passage_is_decoded_as_one_sentence(tiny, limit: int):
    """What the tagger says of a document's sentences is what it says of the passage."""
    document = [
        ["Ada", "left", "London", "."],
        ["She", "saw", "York", "."],
        ["[", "|", "]", "x"] * 3,
    ]
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        tagger.task = replace(tagger.task, passage_words=limit)
        found = list(tagger.tag_documents([document, document[:1]]))
        groups = [[word for s in document[:2] for word in s], document[2], document[0]]
        if not limit:
            groups = [*document, document[0]]
        whole = list(tagger.tag_words(groups))
    if limit:
        assert found == [*split(whole[0], [4, 4]), whole[1], whole[2]]
    else:
        assert found == whole
