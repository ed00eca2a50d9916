"""JSON as annotation tools, libraries and pipelines write it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.data.check import check_data
from ner_edge.data.corpus import Sentence
from ner_edge.data.labelled import read_documents, read_labelled, scan_labelled
from ner_edge.errors import DataError, NerEdgeWarning
from ner_edge.spans import Span

TEXT = "Ada Brown lives in Rome."
WORDS = ["Ada", "Brown", "lives", "in", "Rome", "."]
READ = Sentence(WORDS, [Span(0, 2, "PER"), Span(4, 5, "LOC")])
TRIPLES = [[0, 9, "PER"], [19, 23, "LOC"]]
TAGS = ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]


def region(start: int, end: int, *labels: str, kind: str = "labels") -> dict[str, Any]:
    value = {"start": start, "end": end, "text": TEXT[start:end], kind: list(labels)}
    return {"from_name": "label", "to_name": "text", "type": kind, "value": value}


REGIONS = [region(0, 9, "PER"), region(19, 23, "LOC")]
RECORDS: dict[str, tuple[Any, str]] = {
    "spaCy's pairs": ([TEXT, {"entities": TRIPLES}], "spaCy pairs"),
    "a pair of text and entities": ([TEXT, TRIPLES], "spaCy pairs"),
    "Hugging Face": ({"id": "0", "tokens": WORDS, "ner_tags": TAGS}, "token lists, IOB2"),
    "tokens beside a text": ({"text": TEXT, "tokens": WORDS, "labels": TAGS}, "token lists, IOB2"),
    "GLiNER": (
        {"tokenized_text": WORDS, "ner": [[0, 1, "PER"], [4, 4, "LOC"]]},
        "token lists, IOB2",
    ),
    "Label Studio": (
        {"id": 7, "data": {"text": TEXT}, "annotations": [{"result": REGIONS}]},
        "Label Studio tasks",
    ),
    "Label Studio with all that it may hold": (
        {
            "data": {"review": TEXT, "stars": 4},
            "annotations": [
                {"was_cancelled": True, "result": [region(0, 3, "ORG")]},
                {
                    "result": [
                        *REGIONS,
                        {"type": "relation", "from_id": "a", "to_id": "b"},
                        {"type": "choices", "value": {"choices": ["good"]}},
                    ]
                },
            ],
        },
        "Label Studio tasks",
    ),
    "Label Studio's JSON_MIN": (
        {"id": 7, "text": TEXT, "label": [region["value"] for region in REGIONS]},
        "texts with character offsets",
    ),
    "transformers": (
        {
            "text": TEXT,
            "entities": [
                {"entity_group": "PER", "score": 0.9, "word": "Ada Brown", "start": 0, "end": 9},
                {"entity_group": "LOC", "score": 0.8, "word": "Rome", "start": 19, "end": 23},
            ],
        },
        "texts with character offsets",
    ),
    "transformers, token by token": (
        {
            "text": TEXT,
            "entities": [
                {"entity": "B-PER", "score": 0.9, "start": 0, "end": 1},
                {"entity": "I-PER", "score": 0.7, "start": 1, "end": 3},
                {
                    "entity": "I-PER",
                    "score": 0.8,
                    "index": 3,
                    "word": "Brown",
                    "start": 4,
                    "end": 9,
                },
                {"entity": "O", "score": 0.8, "start": 10, "end": 15},
                {
                    "entity": "I-LOC",
                    "score": 0.8,
                    "index": 6,
                    "word": "Rome",
                    "start": 19,
                    "end": 23,
                },
            ],
        },
        "texts with character offsets",
    ),
    "Presidio": (
        {
            "text": TEXT,
            "results": [
                {"entity_type": "PER", "start": 0, "end": 9, "score": 0.85},
                {"entity_type": "LOC", "start": 19, "end": 23, "score": 1.0},
            ],
        },
        "texts with character offsets",
    ),
}


@pytest.mark.parametrize("tool", RECORDS)
@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (lambda record: json.dumps(record), "JSON lines"),
        (lambda record: json.dumps(record) + "\n\n" + json.dumps(record) + "\n", "JSON lines"),
        (lambda record: json.dumps([record]), "JSON"),
        (lambda record: json.dumps([record, record], indent=2), "JSON"),
        (lambda record: json.dumps(record, indent=2), "JSON"),
        (lambda record: f"[{json.dumps(record)},\n{json.dumps(record)}\n]\n", "JSON"),
    ],
    ids=["a line", "lines", "a list", "an indented list", "indented", "a list of lines"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_records_of_every_tool_are_read_however_they_are_laid_out(
    tmp_path: Path, tool: str, written: Any, kind: str, encoding: str
) -> None:
    path = tmp_path / "data"
    record, layout = RECORDS[tool]
    path.write_text(written(record), encoding=encoding)
    labelled = scan_labelled(path)
    assert (labelled.illegal, labelled.doubtful, labelled.left_out) == ([], [], [])
    assert set(map(str, labelled.sentences())) == {str(READ)}
    assert labelled.layout == f"{kind}: {layout}"
    assert labelled.plain


def test_scores_of_tokens_become_their_mean(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps(RECORDS["transformers, token by token"][0]))
    (document,), _ = read_documents(path)
    assert [mark.score for mark in document.spans] == pytest.approx([0.8, 0.8])


def test_class_ids_are_names_where_the_data_set_names_them(tmp_path: Path) -> None:
    names = ["O", "B-PER", "I-PER", "B-LOC"]
    kind = {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}
    rows = [{"row_idx": 0, "row": {"tokens": WORDS, "ner_tags": [1, 2, 0, 0, 3, 0]}}]
    path = tmp_path / "rows.json"
    features = [{"name": "tokens", "type": {}}, {"name": "ner_tags", "type": kind}]
    path.write_text(json.dumps({"features": features, "rows": rows}))
    assert read_labelled(path) == [READ]


def test_words_with_spaces_are_several_words(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text(json.dumps({"tokens": ["in", "New York"], "ner_tags": ["O", "B-LOC"]}))
    assert read_labelled(path) == [Sentence(["in", "New", "York"], [Span(1, 3, "LOC")])]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"id": 1, "sentence": "a"},
            'expected an object with a "text" and its "entities", or [text, {"entities": …}], or '
            'Label Studio\'s "data" and "annotations", or "tokens" and "ner_tags"; found an '
            "object with the keys id, sentence",
        ),
        (
            [{"entity_group": "PER", "start": 0, "end": 9}],
            "found entities without their text",
        ),
        ({"a\nb": 1}, r"found an object with the keys 'a\nb'"),
        (
            {"tokens": ["a"], "ner_tags": [1]},
            "its ner_tags are numbers, named only in the data set's features: write names "
            'such as "B-PER"',
        ),
        (
            {"tokens": ["a", "b"], "ner_tags": ["O"]},
            "has 2 words in tokens, but 1 tag in ner_tags",
        ),
        ({"tokens": ["a", " "], "ner_tags": ["O", "O"]}, "the word is empty"),
        ({"tokens": ["a"], "ner_tags": ["PER"]}, "'PER' is not an IOB tag"),
        (
            {"tokens": ["a"], "ner": [[0, 1, "X"]]},
            "entity 1: 0 to 1 is out of range of 1 word, counted from 0",
        ),
        ({"tokens": ["a"], "ner": [[0, 0.0, "X"]]}, "must be whole numbers, from 0"),
        ({"tokens": ["a"], "ner": [[0, 0, 7]]}, "entity 1: has no label"),
        ({"tokens": ["a"], "ner": [["X"]]}, "expected [first word, last word, label]"),
        (["a", {"cats": {"X": 1}}], "has no list of entities; its keys are cats"),
        (
            {"text": "a", "entities": [[0, 10**400, "X"]]},
            "lies outside the text, which has 1 characters",
        ),
        (
            {"data": {"a": "x", "b": "y"}, "annotations": [{"result": []}]},
            'expected a "text" in its "data"; its keys are a, b',
        ),
        ({"data": {"text": "x"}, "annotations": [{"result": 1}]}, 'annotation has no "result"'),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, record: Any, message: str
) -> None:
    path = tmp_path / "x"
    fine = RECORDS["spaCy's pairs"][0]
    for text, where in (
        (f"{json.dumps(fine)}\n{json.dumps(record)}\n", ":2: "),
        (f"[\n{json.dumps(fine)},\n{json.dumps(record)}\n]", ":3: "),
    ):
        path.write_text(text)
        with pytest.raises(DataError) as caught:
            read_labelled(path)
        assert str(caught.value).startswith(f"{path}{where}")
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_record_of_a_list_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps([RECORDS["spaCy's pairs"][0], ["Ada", [[0, 9, "PER"]]]]))
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value) == (
        f"{path}:1: record 2: entity 1: 0 to 9 lies outside the text, which has 3 characters"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[\n{"text": "a", "entities": []},\n{"text": }\n]', ":3: not JSON (JSON is malformed"),
        ('[\n{"text": "a", "entities": []}\n', ":3: not JSON (Input data was truncated)"),
        ('[{"text": "a", "entities": NaN}]', ":1: not JSON (JSON is malformed"),
        ('{"text": "\\ud800", "entities": []}', ":1: not JSON"),
        ("[" * 100_000, ":1: not JSON that can be read (nested too deeply)"),
        ('{"text": "a", "entities": ' + "[" * 100_000, ":1: not JSON that can be read (nested"),
        ('{"text": "a"\n{"text": "a", "entities": []}\n', ":1: not valid JSON"),
        ('{"text": "a", "entities": [[0, 1, "X", 1e999]]}\n{}\n', ":1: not valid JSON ("),
    ],
)
def test_what_is_no_json_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_labelled(path)
    assert str(caught.value).startswith(f"{path}{message}")


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.conll", "x"])
@pytest.mark.parametrize("first", ["[ O", "{ O", "[x] B-LOC", '{"a": B-LOC', "[[ O"])
def test_the_content_tells_columns_from_json(tmp_path: Path, name: str, first: str) -> None:
    path = tmp_path / name
    path.write_text(f"{first}\nRome B-LOC\n" if len(first.split()) == 2 else f"{first}\n")
    (sentence,) = read_labelled(path)
    assert sentence.words[0] == first.split()[0]


def test_tasks_without_an_annotation_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    tasks = [
        {"data": {"text": "Bo waits."}, "annotations": []},
        {"data": {"text": "Bo sleeps."}, "annotations": [{"was_cancelled": True, "result": []}]},
        {
            "data": {"text": TEXT},
            "annotations": [{"result": []}, {"result": REGIONS, "ground_truth": True}],
        },
    ]
    path.write_text(json.dumps(tasks))
    labelled = scan_labelled(path)
    assert list(labelled.sentences()) == [READ]
    assert labelled.doubtful == [(1, "record 3: has 2 annotations; only one is read")]
    assert labelled.account() == (
        "2 sentences left out (1: has no annotation; 1: was skipped by its annotator)"
    )
    with pytest.warns(NerEdgeWarning, match="2 sentences "):
        assert read_labelled(path) == [READ]


@pytest.mark.parametrize(
    ("lists", "doubts"),
    [
        ({"annotation_id": 3, "ner": [region["value"] for region in REGIONS]}, []),
        ({"entities": [], "spans": TRIPLES}, []),
        ({"entities": TRIPLES, "labels": ["sports"], "tokens": [{"start": 0, "end": 3}]}, []),
        (
            {"entities": TRIPLES, "spans": [[0, 3, "X"]], "pos": [[4, 9, "Y"]]},
            [(1, "has entities in spans, pos too; those in entities are read")],
        ),
    ],
)
def test_entities_are_found_under_any_key(
    tmp_path: Path, lists: dict[str, Any], doubts: list[Any]
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": TEXT, **lists}))
    labelled = scan_labelled(path)
    assert list(labelled.sentences()) == [READ]
    assert (labelled.illegal, labelled.doubtful) == ([], doubts)


def test_all_entities_are_read_or_counted_as_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    records = [
        {"text": "Adabo met Cy Di in Rome.", "spans": [[0, 3, "X"], [10, 15, "X"], [19, 23, "X"]]},
        {"text": TEXT, "spans": TRIPLES, "answer": "reject"},
        {"text": "Bo waits.", "answer": "ignore"},
        {"text": "Bo sleeps.", "spans": [[0, 2, "PER"]]},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    (summary,) = check_data([path]).files
    assert (summary.sentences, summary.left_out, summary.entities) == (4, 3, 1)
    assert summary.labels == {"PER": 1}
    assert summary.account.endswith(", 5 entities left out")
    with pytest.warns(NerEdgeWarning, match="left out: 5 entities, 3 sentences "):
        assert len(read_labelled(path)) == 1


def test_an_empty_list_of_tokens_hides_no_entities(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({"text": TEXT, "tokens": [], "tags": [], "entities": TRIPLES}))
    assert read_labelled(path) == [READ]


def test_signatures_inside_of_a_file_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x"
    line = json.dumps({"text": TEXT, "entities": TRIPLES})
    path.write_text(f"\ufeff{line}\n\ufeff{line}\n\ufeff\n", encoding="utf-8")
    assert read_labelled(path) == [READ, READ]
    path.write_text("Ada B-PER\n\ufeff\n\ufeff-DOCSTART- O\n\ufeffBo B-PER\n", encoding="utf-8")
    assert [sentence.words for sentence in read_labelled(path)] == [["Ada"], ["Bo"]]


def test_of_several_labels_one_is_kept_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    result = [region(0, 9, "PER", "ORG"), REGIONS[1]]
    path.write_text(json.dumps([{"data": {"text": TEXT}, "annotations": [{"result": result}]}]))
    labelled = scan_labelled(path)
    assert list(labelled.sentences()) == [READ]
    assert labelled.left_out == [(1, "'Ada Brown' overlaps another entity")]
    path.write_text('{"tokens": ["a", "b"], "ner": [[0, 0, "X"], [0, 1, "Y"]]}')
    labelled = scan_labelled(path)
    assert list(labelled.sentences()) == [Sentence(["a", "b"], [Span(0, 2, "Y")])]
    assert labelled.left_out == [(1, "'a' overlaps another entity")]


USED = re.findall(r'"(\w+)":', json.dumps([record for record, _ in RECORDS.values()]))
KEYS = st.sampled_from([*sorted(set(USED)), "features", "rows", "row", "feature", "names", "name"])
LEAF = st.sampled_from([None, True, 0, 1, 2, -1, 0.5, 10**30, "", "a", "Ada b", "labels", "B-X"])
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5)
)
CELL = st.sampled_from(["1", "2", "1-2", "#", "O", "B-PER", "I-NP", "E-A", "L-", "-DOCSTART-"]) | (
    st.sampled_from(["a", "[", '{"', "\0", "\u00a0", "\ufeff", "\r", "", "x y"])
)
COLUMNS = st.lists(st.tuples(CELL, st.sampled_from(["\t", " ", "\n", "\n\n", "\r\n"])), max_size=20)
LINES = st.lists(VALUE.map(json.dumps), max_size=3).map("\n".join)


@settings(max_examples=300)
@given(
    st.binary(max_size=40)
    | (
        LINES
        | VALUE.map(lambda value: json.dumps(value, indent=1))
        | COLUMNS.map(lambda cells: "".join(map("".join, cells)))
    ).map(str.encode)
)
def test_any_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    try:
        labelled = scan_labelled(path)
        if not labelled.illegal:
            for sentence in labelled.sentences():
                assert all(word.split() == [word] for word in sentence.words)
                assert all(0 <= a < b <= len(sentence.words) for a, b, _ in sentence.spans)
        read_documents(path)
        said = ""
    except DataError as error:
        said = str(error)
    assert "\n" not in said
