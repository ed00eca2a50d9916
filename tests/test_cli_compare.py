"""`ner-edge compare`: any tool's predictions, aligned with the gold, scored like a model's."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_error, run, run_ok
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.data.documents import CharSpan, Document
from ner_edge.eval.align import align
from ner_edge.spans import Span

GOLD = """\
-DOCSTART- -X- O O

Zoe NNP B-NP I-PER
Smith NNP I-NP I-PER
lives VBZ B-VP O
in IN B-PP O
Rome NNP B-NP I-LOC
. . O O

-DOCSTART- -X- O O

Acme NNP B-NP I-ORG
's POS I-NP O
shop NN I-NP O
"""
RIGHT: list[dict[str, Any]] = [
    {
        "text": "Zoe Smith lives in Rome.",
        "entities": [
            {"start": 0, "end": 9, "label": "PER", "score": 0.9},
            {"start": 19, "end": 23, "label": "LOC", "score": 0.8},
        ],
    },
    {"text": "Acme's shop", "entities": [{"start": 0, "end": 4, "label": "ORG", "score": 0.7}]},
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gold.conll").write_text(GOLD)
    write("right.jsonl", *RIGHT)
    return tmp_path


def write(name, *records):
    Path(name).write_text("".join(json.dumps(record) + "\n" for record in records))


def compared(*arguments):
    """The report and standard error."""
    result = run("compare", *arguments, "--gold", "gold.conll", "--json", "-")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), result.stderr


def f1_of(name, *arguments):
    report, _ = compared(name, *arguments)
    return report["models"][0]["f1"]


def test_one_line_per_sentence_however_it_is_spaced(folder):
    report, stderr = compared("right.jsonl")
    (model,) = report["models"]
    assert model["f1"] == pytest.approx(100)
    assert stderr == ""
    for key in ("decoder", "size_bytes", "bits_per_weight", "seconds", "sentences_per_second"):
        assert model[key] is None
    assert model["calibration"]["expected_error"] == pytest.approx(20)


def test_one_line_for_the_whole_document(folder):
    text = "-DOCSTART-\n\nZoe Smith\tlives in Rome . Acme 's shop\n"
    spans = [("Zoe Smith", "PER"), ("Rome", "LOC"), ("Acme", "ORG")]
    marks = [[text.index(name), text.index(name) + len(name), label] for name, label in spans]
    write("whole.jsonl", {"text": text, "entities": marks})
    assert f1_of("whole.jsonl") == pytest.approx(100)


CUT_OTHERWISE = """\
Zoe B-PER
Smith E-PER
lives O

in O
Rome S-LOC
. O
Acme's S-ORG
shop O
"""


@pytest.mark.parametrize(("columns", "f1"), [(GOLD, 100), (CUT_OTHERWISE, 200 / 3)])
def test_conll_columns_of_any_cut(folder, columns, f1):
    Path("other.conll").write_text(columns)
    report, _ = compared("other.conll")
    assert report["models"][0]["calibration"] is None
    assert report["models"][0]["f1"] == pytest.approx(f1)


def test_several_files_have_the_statistics_of_eval(folder):
    write("worse.jsonl", {**RIGHT[0], "entities": []}, RIGHT[1])
    stdout = run_ok("compare", "right.jsonl", "worse.jsonl", "--gold", "gold.conll", "--markdown")
    assert "| Model | F1 | ΔF1 [95 % CI] | Flips | ECE (%) |\n" in stdout, "what is known"
    assert "| right | 100.00 | baseline | - | 20.00 |\n" in stdout
    assert "| worse | 50.00 | -50.00 [" in stdout
    assert "2 sentences, 9 tokens (4 and 11 with -DOCSTART- lines), 3 entities.\n" in stdout
    assert "nervaluate" in stdout
    assert "Verdicts" in stdout
    report, _ = compared("right.jsonl", "worse.jsonl", "--baseline", "worse")
    right, worse = report["models"]
    assert right["delta_f1"] == pytest.approx(50)
    assert (right["flips"], worse["flips"], report["baseline"]) == (1, 0, "worse")


def test_files_of_one_name_are_told_apart(folder):
    Path("right.conll").write_text(GOLD)
    report, _ = compared("right.jsonl", "right.conll", "right.conll")
    names = [model["name"] for model in report["models"]]
    assert names == ["right.jsonl", "right.conll", "right.conll-2"]


def test_a_report_folder_without_sizes_and_scores(folder):
    Path("tags.conll").write_text(GOLD)
    stderr = run("compare", "tags.conll", "--gold", "gold.conll", "--report", "out").stderr
    assert stderr == "report: out/index.html\n"
    assert {path.name for path in Path("out").iterdir()} == {
        "index.html",
        "report.json",
        "report.md",
    }
    run_ok("compare", "tags.conll", "right.jsonl", "--gold", "gold.conll", "--report", "both")
    assert {path.stem for path in Path("both").glob("*.png")} == {"f1", "reliability"}


def test_labels_are_mapped_and_foreign_ones_noted(folder):
    text = RIGHT[0]["text"]
    entities = [[0, 9, "person"], [19, 23, "LOC"], [10, 15, "DATE"]]
    write("spacy.jsonl", {"text": text, "ents": entities}, RIGHT[1])
    report, stderr = compared("spacy.jsonl")
    assert stderr.startswith(
        "note: spacy: entities labelled DATE, person count as wrong, because gold.conll has no "
    )
    assert report["models"][0]["f1"] == pytest.approx(200 * 2 / 7)
    mapped, stderr = compared("spacy.jsonl", "--map", "person=PER", "--map", "DATE=")
    assert (mapped["models"][0]["f1"], stderr) == (pytest.approx(100), "")
    result = run("compare", "spacy.jsonl", "--gold", "gold.conll", "--map", "person")
    assert_error(result, "--map person: expected OLD=NEW", 2)


def test_entities_are_widened_to_words_and_overlaps_dropped(folder):
    entities = [
        {"start": 0, "end": 7, "label": "PER", "score": 0.9},
        {"start": 0, "end": 3, "label": "LOC", "score": 0.3},
        {"start": 19, "end": 23, "label": "LOC", "score": 0.8},
    ]
    write("odd.jsonl", {**RIGHT[0], "entities": entities}, RIGHT[1])
    report, stderr = compared("odd.jsonl")
    assert report["models"][0]["f1"] == pytest.approx(100)
    assert "note: odd: widened 1 entity to whole words of one sentence, as in the gold\n" in stderr
    assert "note: odd: dropped 1 entity that a more probable or longer one overlaps\n" in stderr


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [RIGHT[1], RIGHT[0]],
            r"x\.jsonl:1: differs from the gold at sentence 1, word 1 \('Zoe'\): found "
            r"\"Acme'sshop\", expected \"ZoeSmithlivesinRome",
        ),
        (
            [RIGHT[0], {"text": "Acme’s shop", "entities": []}],
            r"x\.jsonl:2: differs from the gold at sentence 2, word 2 \(\"'s\"\): found '’ssh",
        ),
        ([RIGHT[0]], r"x\.jsonl: ends before the gold's sentence 2 of 2: \"Acme'sshop\""),
        (
            [*RIGHT, {"text": "More .", "entities": []}],
            r"x\.jsonl:3: has extra text after the gold's last sentence: 'More\.'",
        ),
        ([{"text": "Zoe"}], r"x\.jsonl:1: has no list of entities"),
        ([], r"x\.jsonl: contains no predictions"),
    ],
)
def test_where_the_texts_part_is_said(folder, records, message):
    write("x.jsonl", *records)
    assert_error(run("compare", "right.jsonl", "x.jsonl", "--gold", "gold.conll"), message)


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["absent.jsonl", "--gold", "gold.conll"], r"absent\.jsonl: no such file", 1),
        (["right.jsonl", "--gold", "absent"], "absent: no such file", 1),
        (
            ["right.jsonl", "--gold", "gold.conll", "--baseline", "x"],
            "--baseline x: no such model; choose one of: right",
            2,
        ),
        (["right.jsonl", "--gold", "gold.conll", "--json", "no/r.json"], "no: no such folder", 2),
        (["right.jsonl", "--gold", "gold.conll", "--report", "right.jsonl"], "is not a folder", 2),
        ([".", "--gold", "gold.conll"], r"\.: is a folder, not a file", 1),
        (["right.jsonl", "--gold", "."], r"\.: is a folder, not a file", 1),
        (["latin.jsonl", "--gold", "gold.conll"], r"latin\.jsonl:1: not UTF-8", 1),
        (["nul.conll", "--gold", "gold.conll"], r"nul\.conll:1: the word contains a NUL", 1),
    ],
)
def test_mistakes_are_one_line(folder, arguments, message, exit_code):
    Path("latin.jsonl").write_text(json.dumps(RIGHT[0]).replace("Zoe", "Zoë"), encoding="latin-1")
    Path("nul.conll").write_text("Zo\0e B-PER\n")
    assert_error(run("compare", *arguments), message, exit_code)


def test_the_gold_s_columns_are_chosen_and_predictions_are_in_the_last(folder):
    Path("gold.conll").write_text("Zoe\tB-PER\tO\nRome\tO\tB-LOC\n")
    Path("found.conll").write_text("Zoe O B-PER\nRome B-LOC O\n")  # as for conlleval
    arguments = ["compare", "found.conll", "--gold", "gold.conll", "--json", "-"]
    assert_error(run(*arguments), "choose with --columns 1,2 or --columns 1,3")
    result = run(*arguments, "--columns", "1,2")
    assert json.loads(result.stdout)["models"][0]["f1"] == pytest.approx(100)
    assert result.stderr == (
        "note: gold.conll: separated by tabs; word column 1; tags column 2, IOB2\n"
    )


@pytest.mark.parametrize("key", ["entity_group", "entity_type"])
def test_what_pipelines_and_analyzers_give_is_measured(folder, key):
    records = [
        {
            "text": record["text"],
            "entities": [
                {key: e["label"], "start": e["start"], "end": e["end"], "score": e["score"]}
                for e in record["entities"]
            ],
        }
        for record in RIGHT
    ]
    Path("list.json").write_text(json.dumps(records, indent=1))
    report, stderr = compared("list.json")
    assert (report["models"][0]["f1"], stderr) == (pytest.approx(100), "")
    Path("bare.jsonl").write_text("".join(f"{json.dumps(r['entities'])}\n" for r in records))
    result = run("compare", "bare.jsonl", "--gold", "gold.conll")
    assert_error(result, r"bare\.jsonl:1: .*; found entities without their text \(and 1 more")


def test_token_lists_are_predictions_too(folder):
    words = ["Zoe", "Smith", "lives", "in", "Rome", "."]
    write(
        "tokens.jsonl",
        {"tokens": words, "ner_tags": ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]},
        {"tokenized_text": ["Acme", "'s", "shop"], "ner": [[0, 0, "ORG"]]},
    )
    assert f1_of("tokens.jsonl") == pytest.approx(100)


def test_gold_sentences_that_are_left_out_are_so_on_both_sides(folder):
    text = "Zoe Smith lives in Rome. Ada waits."
    write("gold.conll", {"text": text, "entities": [[0, 2, "PER"], [25, 28, "PER"]]})
    write("x.jsonl", {"text": text, "entities": [[0, 9, "PER"], [25, 28, "PER"]]})
    report, stderr = compared("x.jsonl")
    assert (report["sentences"], report["models"][0]["f1"]) == (1, pytest.approx(100))
    assert "left out: 1 entity, 1 sentence " in stderr


def test_what_tag_prints_is_measured_like_the_model_that_said_it(folder, tiny, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(folder / "cache"))
    Path("text").write_text(
        "Zoe Smith lives in Rome. Acme's shop\n\nAda saw Kim in Oslo, Norway.\n"
    )
    printed = run_ok("tag", "text", "-m", tiny.gguf, "--format", "jsonl", "--threads", 1)
    Path("found.jsonl").write_text(printed)
    assert json.loads(printed.splitlines()[0])["entities"]
    write(
        "gold.jsonl",
        {
            "text": "Zoe Smith lives in Rome. Acme's shop",
            "entities": [[0, 9, "PER"], [19, 23, "LOC"]],
        },
        {"text": "Ada saw Kim in Oslo, Norway.", "entities": [[0, 3, "PER"], [15, 19, "LOC"]]},
    )
    arguments = ["--json", "-"]
    evaluated = run_ok("eval", "gold.jsonl", "-m", tiny.gguf, "--threads", 1, *arguments)
    from_file = run_ok("compare", "found.jsonl", "--gold", "gold.jsonl", *arguments)
    (model,), (file,) = (json.loads(text)["models"] for text in (evaluated, from_file))
    for key in ("f1", "per_label", "micro", "nervaluate"):
        assert file[key] == model[key]
    assert run_ok("compare", "found.jsonl", "--gold", "found.jsonl", "--markdown").count("100.00")


WORD = st.text(alphabet="ab\u0301'.\U0001f600", min_size=1, max_size=3)


@given(st.lists(st.lists(WORD, min_size=1, max_size=5), min_size=1, max_size=5), st.data())
def test_spacing_and_cutting_change_no_entity(sentences, data):
    documents, expected = [Document(1, "", [])], []
    for words in sentences:
        if data.draw(st.booleans()):
            documents.append(Document(len(documents) + 1, "", []))
        ends = sorted(data.draw(st.sets(st.integers(1, len(words)))))
        spans = [Span(a, b, "X") for a, b in zip([0, *ends], ends, strict=False)]
        offsets = []
        text = documents[-1].text
        for word in words:
            text += data.draw(st.sampled_from(["", " ", "\n\t ", "\u00a0", "\0"]))
            offsets.append((len(text), len(text) + len(word)))
            text += word
        marks = [CharSpan(offsets[a][0], offsets[b - 1][1], label) for a, b, label in spans]
        documents[-1] = documents[-1]._replace(text=text, spans=documents[-1].spans + marks)
        expected.append([(span, None) for span in spans])
    aligned = align(documents, sentences, Path("x"))
    assert (aligned.spans, aligned.widened, aligned.overlapping) == (expected, 0, 0)
