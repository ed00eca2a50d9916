"""One line as each tool writes it, read as gold and as predictions."""

from pathlib import Path

import pytest
from command_line import assert_error, run

from ner_edge.data.labelled import read_labelled
from ner_edge.errors import NerEdgeWarning
from ner_edge.eval.gold import read_gold
from ner_edge.eval.prediction_files import compare_files
from ner_edge.spans import Span

# The text of every line.
GOLD = """\
Zoe B-PERSON
Smith I-PERSON
lives O
in O
Rome B-GPE
. O

Acme B-ORG
's O
shop O
😀 O
in O
Rome B-GPE
"""

LINES = {
    # json.dumps(doc.to_json()), spaCy 3.8: a blank pipeline with an entity_ruler and a sentencizer.
    "spaCy": """\
{"text": "Zoe Smith lives in Rome.  Acme's shop 😀 in Rome\\n", "ents": [{"start": 0, "end": 9, \
"label": "PERSON"}, {"start": 19, "end": 23, "label": "GPE"}, {"start": 26, "end": 30, "label": \
"ORG"}, {"start": 43, "end": 47, "label": "GPE"}], "sents": [{"start": 0, "end": 24}, {"start": \
25, "end": 48}], "tokens": [{"id": 0, "start": 0, "end": 3}, {"id": 1, "start": 4, "end": 9}]}""",
    # The same with a span group: {"spans": {...}} is not Prodigy's list.
    "spaCy with span groups": """\
{"text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "ents": [{"start": 0, "end": 9, \
"label": "PERSON"}, {"start": 19, "end": 23, "label": "GPE"}, {"start": 25, "end": 29, "label": \
"ORG"}, {"start": 42, "end": 46, "label": "GPE"}], "sents": [{"start": 0, "end": 24}], "tokens": \
[{"id": 0, "start": 0, "end": 3}], "spans": {"sc": [{"start": 0, "end": 9, "label": "", \
"kb_id": ""}]}}""",
    # [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents], as its training data were.
    "spaCy's doc.ents": """\
{"text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "entities": [[0, 9, "PERSON"], \
[19, 23, "GPE"], [25, 29, "ORG"], [42, 46, "GPE"]]}""",
    # model.predict_entities(text, labels) beside its text.
    "GLiNER": """\
{"text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "entities": [{"start": 0, "end": 9, \
"text": "Zoe Smith", "label": "PERSON", "score": 0.9869275689125061}, {"start": 19, "end": 23, \
"text": "Rome", "label": "GPE", "score": 0.9712404608726501}, {"start": 25, "end": 29, "text": \
"Acme", "label": "ORG", "score": 0.8831812739372253}, {"start": 42, "end": 46, "text": "Rome", \
"label": "GPE", "score": 0.9583161473274231}]}""",
    "doccano": """\
{"id": 7, "text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "label": [[0, 9, "PERSON"], \
[19, 23, "GPE"], [25, 29, "ORG"], [42, 46, "GPE"]], "Comments": []}""",
    "doccano with relations": """\
{"id": 7, "text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "Comments": [], "entities": \
[{"id": 1, "label": "PERSON", "start_offset": 0, "end_offset": 9}, {"id": 2, "label": "GPE", \
"start_offset": 19, "end_offset": 23}, {"id": 3, "label": "ORG", "start_offset": 25, "end_offset": \
29}, {"id": 4, "label": "GPE", "start_offset": 42, "end_offset": 46}], "relations": [{"id": 1, \
"from_id": 1, "to_id": 2, "type": "lives in"}]}""",
    "doccano of 2021": """\
{"id": 7, "data": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "label": [[0, 9, "PERSON"], \
[19, 23, "GPE"], [25, 29, "ORG"], [42, 46, "GPE"]]}""",
    # prodigy db-out of ner.manual.
    "Prodigy": """\
{"text": "Zoe Smith lives in Rome. Acme's shop 😀 in Rome", "meta": {"id": "7"}, "_input_hash": \
-977724056, "_task_hash": -665543633, "_is_binary": false, "spans": [{"text": "Zoe Smith", \
"start": 0, "end": 9, "pattern": -757930524, "token_start": 0, "token_end": 1, "label": "PERSON"}, \
{"start": 19, "end": 23, "token_start": 4, "token_end": 4, "label": "GPE"}, {"start": 25, "end": \
29, "token_start": 6, "token_end": 6, "label": "ORG"}, {"start": 42, "end": 46, "token_start": 11, \
"token_end": 11, "label": "GPE"}], "tokens": [{"text": "Zoe", "start": 0, "end": 3, "id": 0, "ws": \
true}], "_view_id": "ner_manual", "answer": "accept", "_timestamp": 1665572200}""",
}


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    path = tmp_path / "gold.conll"
    path.write_text(GOLD, encoding="utf-8")
    return path


@pytest.mark.parametrize("tool", LINES)
def test_a_line_of_each_tool_is_gold_and_prediction(tool: str, gold: Path, tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    path.write_text(LINES[tool] + "\n", encoding="utf-8")
    labelled = [span.label for sentence in read_labelled(path) for span in sentence.spans]
    assert labelled == ["PERSON", "GPE", "ORG", "GPE"]
    (result,) = compare_files(gold, [path]).results
    assert result.predictions == read_gold(gold).spans
    assert result.notes == []
    assert (result.calibration is not None) == (tool == "GLiNER")


def test_prodigy_writes_no_spans_where_nothing_was_marked(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"text": "Nothing.", "tokens": [], "answer": "accept"}\n')
    (sentence,) = read_labelled(path)
    assert (sentence.words, sentence.spans) == (["Nothing", "."], [])


@pytest.mark.parametrize("answer", ["reject", "ignore"])
def test_what_an_annotator_rejects_is_no_gold(tmp_path: Path, answer: str) -> None:
    path = tmp_path / "x.jsonl"
    span = '"spans": [{"start": 0, "end": 3, "label": "PER"}]'
    path.write_text(
        f'{{"text": "Ada waits.", {span}, "answer": "{answer}"}}\n'
        f'{{"text": "Kim waits.", {span}, "answer": "accept"}}\n'
    )
    with pytest.warns(NerEdgeWarning, match=f"left out: 1 entity, 1 sentence .*{answer}"):
        (sentence,) = read_labelled(path)
    assert (sentence.words[0], sentence.spans) == ("Kim", [Span(0, 1, "PER")])


def test_labels_that_are_not_the_gold_s_are_an_error(gold: Path, tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    path.write_text(
        '{"text": "Zoe Smith lives in Rome. Acme\'s shop 😀 in Rome", "ents": [[0, 9, "PER"]]}'
    )
    message = r"none of its labels \(PER\) is in .* \(GPE, ORG, PERSON\); rename them with --map"
    assert_error(run("compare", path, "--gold", gold), message)
    assert run("compare", path, "--gold", gold, "--map", "PER=PERSON").exit_code == 0
