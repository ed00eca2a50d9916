"""Files that the tools themselves write are read, and what is written, the tools read."""

import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_error, run, run_ok
from conftest import TinyModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ner_edge.data.corpus import Sentence
from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.contents import ReadOptions
from ner_edge.data.labelled import read_labelled, scan_documents
from ner_edge.errors import DataError, NerEdgeWarning
from ner_edge.spans import Span

TEXT = "Zoe Smith lives in Rome. Acme's shop 😀 in Rome"
SPANS = [
    CharSpan(0, 9, "PERSON"),
    CharSpan(19, 23, "GPE"),
    CharSpan(25, 29, "ORG"),
    CharSpan(42, 46, "GPE"),
]
_WORDS = [["Zoe", "Smith", "lives", "in", "Rome", "."], ["Acme", "'s", "shop", "😀", "in", "Rome"]]
LABELLED = [
    Sentence(_WORDS[0], [Span(0, 2, "PERSON"), Span(4, 5, "GPE")]),
    Sentence(_WORDS[1], [Span(0, 1, "ORG"), Span(5, 6, "GPE")]),
]

# What Converter.convert of label-studio-sdk 2.1.2 writes as CSV, TSV, JSON_MIN and JSON.
_HEAD = ("annotation_id", "annotator", "created_at", "id", "label", "lead_time", "source", "text")
_REGIONS = [
    {"start": s.start, "end": s.end, "text": TEXT[s.start : s.end], "labels": [s.label]}
    for s in SPANS
]
_CELL = json.dumps(_REGIONS, separators=(",", ":")).replace('"', '""')
_ROW = ("3", '"1"', '"2026-11-26T10:00:00Z"', "7", f'"{_CELL}"', "4.2", '"mail"', f'"{TEXT}"')
LABEL_STUDIO = {
    "result.csv": ",".join(f'"{name}"' for name in _HEAD) + "\n" + ",".join(_ROW) + "\n",
    "result.tsv": "\t".join(f'"{name}"' for name in _HEAD) + "\n" + "\t".join(_ROW) + "\n",
    "min.json": json.dumps(
        [{"text": TEXT, "source": "mail", "id": 7, "label": _REGIONS, "annotation_id": 3}], indent=2
    ),
    "result.json": json.dumps(
        [
            {
                "id": 7,
                "data": {"text": TEXT, "source": "mail"},
                "annotations": [
                    {
                        "id": 3,
                        "completed_by": 1,
                        "was_cancelled": False,
                        "ground_truth": False,
                        "lead_time": 4.2,
                        "result": [
                            {
                                "id": "a",
                                "from_name": "label",
                                "to_name": "text",
                                "type": "labels",
                                "origin": "manual",
                                "value": region,
                            }
                            for region in _REGIONS
                        ],
                    }
                ],
                "predictions": [],
            }
        ]
    ),
}


def read(path: Path) -> list[Document]:
    return scan_documents(path, ReadOptions()).documents


@pytest.mark.parametrize("name", LABEL_STUDIO)
def test_exports_of_label_studio(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(LABEL_STUDIO[name], encoding="utf-8")
    (document,) = read(path)
    assert (document.text, document.spans) == (TEXT, SPANS)
    assert (str(document.fields["id"]), document.fields["source"]) == ("7", "mail")
    assert read_labelled(path) == LABELLED


def test_predictions_of_label_studio_are_no_gold(tmp_path: Path) -> None:
    gold, path = tmp_path / "gold.json", tmp_path / "x.json"
    gold.write_text(LABEL_STUDIO["result.json"])
    (task,) = json.loads(LABEL_STUDIO["result.json"])
    task["predictions"] = [{"model_version": "a", "score": 0.5, **task["annotations"][0]}]
    path.write_text(json.dumps([task, task | {"annotations": []}]))
    with pytest.warns(NerEdgeWarning, match="left out: 4 entities, 2 sentences .*no annotation"):
        assert read_labelled(path) == LABELLED
    annotated, predicted = read(path)
    assert annotated.spans == predicted.spans == SPANS
    assert (annotated.predicted, predicted.predicted) == (False, True)
    assert run_ok("convert", path, "-", "--to", "tsv").count("\n") == 9


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A DocBin that spaCy made: a pipeline with rules, and a document that nobody annotated."""
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    ruler = nlp.add_pipe("entity_ruler")
    words = [("PERSON", "Zoe Smith"), ("GPE", "Rome"), ("ORG", "Acme")]
    ruler.add_patterns([{"label": label, "pattern": pattern} for label, pattern in words])
    spaced = nlp(f" {TEXT}\n\nZoe  Smith ")
    spaced.spans["sc"] = [spaced[1:3]]
    path = tmp_path / "x.spacy"
    spacy.tokens.DocBin(docs=[nlp(TEXT), spaced, spacy.blank("en")(TEXT)]).to_disk(path)
    return path


def test_a_docbin_of_spacy(docs: Path, tmp_path: Path) -> None:
    first, spaced, blank = read(docs)
    assert (first.text, first.spans) == (TEXT, SPANS)
    assert [[w.text for w in words] for words in first.sentences or []] == [
        sentence.words for sentence in LABELLED
    ]
    assert spaced.text == f" {TEXT}\n\nZoe  Smith "
    assert [(span.start, span.label) for span in spaced.spans] == [
        (span.start + 1, span.label) for span in SPANS
    ]
    assert (blank.text, blank.rejected) == (TEXT, "has no entities set")
    with pytest.warns(NerEdgeWarning, match="has no entities set"):
        assert read_labelled(docs)[:2] == LABELLED
    result = run("convert", docs, tmp_path / "x.jsonl")
    assert "left out: line 3: has no entities set\n" in result.stderr
    assert "not read: span groups\n" in result.stderr


def test_spacy_reads_what_is_written(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    source, path = tmp_path / "x.jsonl", tmp_path / "x.spacy"
    texts: list[dict[str, Any]] = [
        {"text": TEXT, "entities": [[s.start, s.end, s.label] for s in SPANS]},
        {"text": "  pre-Roman\tAda ", "entities": [[6, 11, "NORP"], [11, 16, "PERSON"]]},
        {"text": "", "entities": []},
    ]
    source.write_text("\n".join(map(json.dumps, texts)))
    result = run("convert", source, path)
    assert "not kept: white space at the ends of entities (1)\n" in result.stderr
    nlp = spacy.blank("en")
    found = list(spacy.tokens.DocBin().from_disk(path).get_docs(nlp.vocab))
    assert [doc.text for doc in found] == [text["text"] for text in texts]
    assert [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in found] == [
        [span[:3] for span in SPANS],
        [(6, 11, "NORP"), (12, 15, "PERSON")],
        [],
    ]
    assert [str(sentence) for sentence in found[0].sents] == [TEXT[:24], TEXT[25:]]
    # spaCy aligns them with its own tokens, as `spacy train` does.
    example = spacy.training.Example(nlp.make_doc(TEXT), found[0])
    assert [str(entity) for entity in example.get_aligned_spans_y2x(found[0].ents)] == [
        TEXT[s.start : s.end] for s in SPANS
    ]


def test_objects_in_a_docbin_are_not_unpacked(tmp_path: Path) -> None:
    """Neither user data nor span groups, which may be anything."""
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    doc = nlp("Ada")
    doc.set_ents([])
    packed = spacy.tokens.DocBin(docs=[doc], store_user_data=True)
    packed.user_data = [b"\xc1 no msgpack"]
    packed.span_groups = [b"\xc1 no msgpack"]
    path = tmp_path / "x.spacy"
    packed.to_disk(path)
    (document,) = read(path)
    assert (document.text, document.spans) == ("Ada", [])


def test_a_docbin_is_unpacked_within_limits(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ner_edge.data.formats.docbin._LIMIT", 2000)
    bomb = tmp_path / "bomb.spacy"
    bomb.write_bytes(zlib.compress(b"\0" * 100_000))
    assert bomb.stat().st_size < 2000
    assert_error(run("convert", bomb, "-", "--to", "conll"), "cut off, or larger than")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_docbin_is_an_error_or_readable(docs: Path, data: st.DataObject) -> None:
    content = bytearray(zlib.decompress(docs.read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = docs.with_name("damaged.spacy")
    damaged.write_bytes(zlib.compress(bytes(content)))
    with suppress(DataError):
        for document in read(damaged):
            assert all(0 <= s.start < s.end <= len(document.text) for s in document.spans)


def test_hugging_face_datasets_read_what_is_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    source = tmp_path / "x.conll"
    source.write_text("Zoe B-PER\nlives O\n\nNobody O\n", encoding="utf-8")
    for name in ("x.jsonl", "x.parquet"):
        options = ("--to", "huggingface") if name == "x.jsonl" else ()
        run_ok("convert", source, tmp_path / name, *options)
    rows = datasets.Dataset.from_json(str(tmp_path / "x.jsonl"), cache_dir=str(tmp_path / "c"))
    assert rows[:] == {
        "tokens": [["Zoe", "lives"], ["Nobody"]],
        "ner_tags": [["B-PER", "O"], ["O"]],
    }
    rows.to_parquet(tmp_path / "tokens.parquet")
    assert read_labelled(tmp_path / "tokens.parquet") == read_labelled(source)
    names = datasets.ClassLabel(names=["O", "B-PER"])
    features = datasets.Features(tokens=[datasets.Value("string")], ner_tags=[names])
    rows.cast(features).to_parquet(tmp_path / "numbers.parquet")
    assert read_labelled(tmp_path / "numbers.parquet") == read_labelled(source)
    table = datasets.Dataset.from_parquet(str(tmp_path / "x.parquet"), cache_dir=str(tmp_path))
    entity = {"start": 0, "end": 3, "text": "Zoe", "label": "PER", "score": None}
    assert table[:] == {"text": ["Zoe lives", "Nobody"], "entities": [[entity], []]}


def test_tables_are_tagged_and_keep_their_columns(tiny: TinyModel, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    columns = {"id": [7, 8], "text": ["Zoe lives in\nRome", "Nobody"], "n": [0.5, 1]}
    table = pandas.DataFrame(columns)
    table.to_csv(tmp_path / "x.csv", index=False)
    table.to_parquet(tmp_path / "x.parquet")
    tag = ("tag", "-m", tiny.gguf, "--threads", 1)
    for name in ("x.csv", "x.parquet"):
        out = tmp_path / f"out-{name}"
        assert run_ok(*tag, tmp_path / name, "--out", out) == ""
        read_back = pandas.read_csv if name == "x.csv" else pandas.read_parquet
        tagged = read_back(out)
        assert tagged[["id", "text", "n"]].equals(table[["id", "text", "n"]])
        jsonl = run_ok(*tag, tmp_path / name, "--format", "jsonl").splitlines()
        entities = [json.loads(line)["entities"] for line in jsonl]
        assert any(entities)
        column = tagged["entities"]
        cells = map(json.loads, column) if name == "x.csv" else ([*cell] for cell in column)
        assert list(cells) == entities
