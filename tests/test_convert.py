"""`ner-edge convert`: what is written, what is said of the rest, and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_error, run, run_ok

from ner_edge.data.documents import CharSpan
from ner_edge.data.formats.contents import ReadOptions
from ner_edge.data.formats.table import FORMATS
from ner_edge.data.labelled import scan_documents

CONLL = """\
-DOCSTART- -X- O

Ada NNP B-PER
Lovelace NNP I-PER
met VBD O
Mary NNP B-PER
Somerville NNP I-PER
. . O

Nobody NN O
"""
NESTED = {
    "id": 7,
    "text": "The Bank of  England’s governor",
    "entities": [
        {"start": 4, "end": 20, "label": "ORG", "score": 0.75},
        {"start": 13, "end": 20, "label": "LOC", "score": 0.5},
        {"start": 23, "end": 26, "label": "PER", "score": 0.25},
    ],
}


@pytest.fixture
def conll(tmp_path: Path) -> Path:
    path = tmp_path / "a.conll"
    path.write_text(CONLL, encoding="utf-8")
    return path


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    path = tmp_path / "nested.jsonl"
    path.write_text(json.dumps(NESTED), encoding="utf-8")
    return path


def converted(*arguments: Any) -> tuple[str, list[str]]:
    """Return what `convert` prints: the output, and the messages after how the source was read."""
    result = run("convert", *arguments)
    assert result.exit_code == 0, result.output
    how, *said = result.stderr.splitlines()
    assert how.startswith(f"{arguments[0]}: ")
    return result.stdout, said


@pytest.mark.parametrize(
    ("scheme", "tags"),
    [
        ("iob2", ["B-PER", "I-PER", "O", "B-PER", "I-PER", "O"]),
        ("iob1", ["I-PER", "I-PER", "O", "I-PER", "I-PER", "O"]),
        ("iobes", ["B-PER", "E-PER", "O", "B-PER", "E-PER", "O"]),
        ("bioul", ["B-PER", "L-PER", "O", "B-PER", "L-PER", "O"]),
    ],
)
@pytest.mark.parametrize(("separator", "between"), [("space", " "), ("tab", "\t")])
def test_schemes_and_separators_of_conll(
    conll: Path, scheme: str, tags: list[str], separator: str, between: str
) -> None:
    options = ("--to", "conll", "--scheme", scheme, "--separator", separator)
    output, said = converted(conll, "-", *options)
    words = ["Ada", "Lovelace", "met", "Mary", "Somerville", "."]
    rows = [f"{word}{between}{tag}" for word, tag in zip(words, tags, strict=True)]
    blocks = [[f"-DOCSTART-{between}O"], rows, [f"Nobody{between}O"]]
    assert output == "".join("".join(f"{row}\n" for row in [*block, ""]) for block in blocks)
    assert said == ["not read: column 2", "-: 2 texts, 2 entities"]


def test_how_the_source_was_read_is_said(conll: Path, nested: Path) -> None:
    layout = "separated by spaces; word column 1; tags column 3, IOB2"
    assert run("convert", conll, "-", "--to", "csv").stderr.startswith(f"{conll}: {layout}\n")
    layout = "JSON lines: texts with character offsets"
    assert run("convert", nested, "-", "--to", "csv").stderr.startswith(f"{nested}: {layout}\n")


def test_jsonl(conll: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.jsonl"
    output, said = converted(conll, target)
    assert output == ""
    assert target.read_text(encoding="utf-8") == (
        '{"text": "Ada Lovelace met Mary Somerville .", "entities": ['
        '{"start": 0, "end": 12, "text": "Ada Lovelace", "label": "PER"}, '
        '{"start": 17, "end": 32, "text": "Mary Somerville", "label": "PER"}]}\n'
        '{"text": "Nobody", "entities": []}\n'
    )
    assert said[0] == "not kept: -DOCSTART- lines (1)"


def test_what_words_cannot_hold_is_said(nested: Path) -> None:
    output, said = converted(nested, "-", "--to", "conll")
    assert output == ""
    assert said == [
        "left out: line 1: 'England' overlaps another entity",
        "left out: line 1: 'gov' does not start and end at word boundaries",
        "not kept: fields (id) (1)",
        "not kept: scores (1)",
        "not kept: sentences, because of what is left out (1)",
        "not kept: white space between words (1)",
        "-: 1 text, 0 entities",
    ]


def test_tables_hold_scores_fields_and_nested_entities(nested: Path, tmp_path: Path) -> None:
    for name in ("x.csv", "x.jsonl"):
        _, said = converted(nested, tmp_path / name)
        assert len(said) == 1, said
        (document,) = scan_documents(tmp_path / name, ReadOptions()).documents
        assert document.text == NESTED["text"]
        assert str(document.fields["id"]) == "7"
        assert document.spans == [
            CharSpan(4, 20, "ORG", 0.75),
            CharSpan(13, 20, "LOC", 0.5),
            CharSpan(23, 26, "PER", 0.25),
        ]


def test_what_has_scores_becomes_predictions(nested: Path, conll: Path) -> None:
    (task,) = json.loads(converted(nested, "-", "--to", "label-studio")[0])
    assert task.keys() == {"id", "data", "predictions"}
    (prediction,) = task["predictions"]
    assert (task["id"], prediction["score"]) == (7, 0.5)
    assert prediction["result"][0] == {
        "id": "e0",
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 4, "end": 20, "text": "Bank of  England", "labels": ["ORG"]},
        "score": 0.75,
    }
    for task in json.loads(converted(conll, "-", "--to", "label-studio")[0]):
        assert task.keys() == {"data", "annotations"}


def test_what_the_file_says_of_its_origin_counts_more_than_scores(tmp_path: Path) -> None:
    region = {"type": "labels", "value": {"start": 0, "end": 3, "labels": ["PER"]}, "score": 0.5}
    tasks = [
        {"data": {"text": "Ada"}, "annotations": [{"result": [region]}]},
        {"data": {"text": "Kim"}, "predictions": [{"result": [region]}]},
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    output, _ = converted(tmp_path / "tasks.json", "-", "--to", "label-studio")
    assert [sorted(task) for task in json.loads(output)] == [
        ["annotations", "data"],
        ["data", "predictions"],
    ]


def test_a_rejected_text_with_scores_is_left_out(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 3, "label": "PER", "score": 0.5}]
    answers = [{"text": "Ada", "spans": spans, "answer": answer} for answer in ("accept", "reject")]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, answers)))
    output, said = converted(tmp_path / "x.jsonl", "-", "--to", "brackets")
    assert output == "[Ada | PER]\n"
    assert "left out: line 2: was answered 'reject'" in said


def test_html_is_escaped_and_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    text = '<script>alert("Ada & Co")</script>'
    spans = [{"start": 15, "end": 18, "label": 'P"><b>'}]
    path.write_text(json.dumps({"text": text, "entities": spans}))
    page, _ = converted(path, "-", "--to", "html")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;alert(&quot;" in page
    assert "http" not in page.split("<body>")[1]
    assert '">Ada<span>P&quot;&gt;&lt;b&gt;</span></mark> &amp; Co' in page


def test_tsv_is_one_row_per_entity(nested: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    spans = [{"start": 0, "end": 4, "label": "A"}]
    path.write_text(json.dumps({"text": "a\tb\\c", "entities": spans}))
    assert converted(path, "-", "--to", "tsv")[0] == (
        "number\tstart\tend\tlabel\tscore\ttext\n1\t0\t4\tA\t\ta\\tb\\\\\n"
    )
    assert "1\t4\t20\tORG\t0.75\tBank of  England\n" in converted(nested, "-", "--to", "tsv")[0]


def test_brat_files_have_the_names_of_the_texts(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    ids = ["news/a.1", "../b", "NEWS/A.1", 7]
    text = "Ada\nLovelace"
    spans = [{"start": 0, "end": 12, "label": "PER"}]
    texts: list[dict[str, Any]] = [{"text": text, "entities": spans, "id": name} for name in ids]
    lines = map(json.dumps, [*texts, {"text": text, "entities": spans}])
    path.write_text("\n".join(lines))
    folder = tmp_path / "brat"
    converted(path, folder, "--to", "brat")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.ann"))
    assert names == ["000002.ann", "000003.ann", "000005.ann", "7.ann", "news/a.1.ann"]
    assert (folder / "news" / "a.1.txt").read_text() == text
    assert (folder / "000002.ann").read_text() == "T1\tPER 0 3;4 12\tAda Lovelace\n"
    assert "[entities]\nPER\n" in (folder / "annotation.conf").read_text()
    again = run("convert", path, folder, "--to", "brat")
    assert_error(again, "brat exists; brat needs a new or empty folder", 2)


def test_what_is_not_annotated_is_no_gold(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text('[{"data": {"text": "Ada"}}, {"data": {"text": "B"}, "annotations": []}]')
    output, said = converted(path, "-", "--to", "jsonl")
    assert output == ""
    assert said[:3] == [
        "left out: line 1: has no annotation",
        "left out: line 1: has no annotation",
        "not kept: texts that are not annotated (2)",
    ]


def test_the_format_must_be_known(conll: Path, tmp_path: Path) -> None:
    for target in ("-", tmp_path / "x.json", tmp_path / "x"):
        assert_error(run("convert", conll, target), "which format\\? Name it with --to: ", 2)
    for option in ("--to", "--from"):
        result = run("convert", conll, "-", option, "x" if option == "--to" else "html")
        assert result.exit_code == 2
        assert "label-studio" in result.stderr


def test_wrong_targets_are_refused(conll: Path, tmp_path: Path) -> None:
    assert_error(run("convert", conll, conll), "would replace", 2)
    assert_error(run("convert", conll, tmp_path / "no" / "x.jsonl"), "no such folder", 2)
    assert_error(run("convert", conll, tmp_path, "--to", "csv"), "is a folder", 2)
    assert_error(run("convert", conll, tmp_path, "--to", "brat"), "a new or empty folder", 2)
    assert_error(run("convert", conll, "-", "--to", "spacy"), "spacy is no .*: name a file", 2)
    assert_error(run("convert", conll, "-", "--to", "brat"), "brat is no .*: name a folder", 2)
    wrong = run("convert", conll, "-", "--to", "csv", "--scheme", "iob1")
    assert_error(wrong, "--scheme and --separator are for conll, not csv", 2)


def test_a_label_with_a_space_fits_columns_separated_by_tabs(tmp_path: Path) -> None:
    path, target = tmp_path / "x.jsonl", tmp_path / "x.conll"
    path.write_text('{"text": "Ada", "entities": [[0, 3, "a person"]]}')
    assert_error(run("convert", path, target), "'a person' does not fit .* --separator tab")
    assert not target.exists()
    assert_error(run("convert", path, tmp_path / "b", "--to", "brat"), "contains a space")
    assert not (tmp_path / "b").exists()
    run_ok("convert", path, target, "--separator", "tab")
    assert target.read_text() == "Ada\tB-a person\n\n"


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "head.csv": ("review,entities\nAda,[]\n", r":1: has no column named text; its columns are rev"),
    "twice.csv": ("text,text\nAda,[]\n", r":1: has two columns named 'text'"),
    "cells.csv": ('text,entities\n"Ada",[],9\n', r":2: has 3 cells, but the table has 2 columns"),
    "json.csv": ('text,entities\n\n"Ada",[0\n', r":3: entities: not valid JSON"),
    "quote.csv": ('text,entities\n"Ada,[]\n', r":2: not CSV \("),
    "outside.csv": (
        'text,entities\n"A\nda","[[0, 9, ""A""]]"\n',
        r":2: entity 1: 0 to 9 lies",
    ),
    "bytes.csv": (b"text\n\xff", r": not UTF-8 text \(byte 0xff\)"),
    "x.spacy": (b"nothing", r": not a DocBin of spaCy \("),
    "cut.spacy": (b"x\x9c\xed", r": not a DocBin of spaCy \(it is cut off"),
    "x.parquet": (b"PAR1", r": not Parquet \("),
    "no.jsonl": ('{"text": "Ada"}', r":1: has no list of entities"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_damaged_files_are_refused_with_their_line(name: str, tmp_path: Path) -> None:
    library = {".spacy": "spacy", ".parquet": "pyarrow"}.get(Path(name).suffix)
    if library:
        pytest.importorskip(library)
    content, message = BROKEN[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    target = tmp_path / "x.conll"
    assert_error(run("convert", path, target), f"{name}{message}")
    assert not target.exists()


ANNOTATIONS = {
    "T1\tPER 0 3\tZoe\n": "1: its text is 'Zoe', but 0 3 is 'Ada'; offsets count code points",
    "T1\tPER 0 30\tAda\n": "1: 0 30 lies outside x.txt, of 16 characters",
    "T1\tPER 0 3;2 5\tAda\n": "1: 0 3;2 5 lies outside",
    "\nT1 PER 0 3 Ada\n": "2: expected T1, a tab, LABEL START END, a tab and the text, found 'T1 ",
    "x": "1: expected an annotation of brat, found 'x'",
}


@pytest.mark.parametrize("annotation", ANNOTATIONS)
def test_damaged_annotations_of_brat(annotation: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Ada and Lovelace")
    (tmp_path / "x.ann").write_text(annotation)
    line, _, message = ANNOTATIONS[annotation].partition(": ")
    result = run("convert", tmp_path / "x.txt", "-", "--to", "jsonl")
    assert_error(result, f"x.txt:{line}: x.ann: {message}")
    (tmp_path / "x.txt").unlink()
    assert_error(run("convert", tmp_path, "-", "--to", "jsonl"), "x.txt: no such file")
    (tmp_path / "x.ann").unlink()
    assert_error(run("convert", tmp_path, "-", "--to", "jsonl"), "holds no .ann files of brat")


def test_discontinuous_entities_of_brat_are_said(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("Ada and Mary Lovelace\nleft")
    (tmp_path / "x.ann").write_text(
        "T1\tPER 0 3;13 21\tAda Lovelace\nT2\tPER 8 12;13 21\tMary Lovelace\n"
        "R1\tMarried Arg1:T1 Arg2:T2\nA1\tSure T1\n#1\tAnnotatorNotes T1\tnote\n"
    )
    output, said = converted(tmp_path / "x.ann", "-", "--to", "brackets")
    assert output == "Ada and [Mary Lovelace | PER]\nleft\n"
    assert said[:3] == [
        "left out: line 1: x.ann: 'Ada and Mary Lovelace' is discontinuous",
        "not kept: fields (id) (1)",
        "not read: attributes, notes, relations",
    ]


def test_missing_libraries_are_named(conll: Path, tmp_path: Path, monkeypatch: Any) -> None:
    for library, suffix, extra in (("spacy", "spacy", "spacy"), ("pyarrow", "parquet", "parquet")):
        monkeypatch.setitem(__import__("sys").modules, library, None)
        result = run("convert", conll, tmp_path / f"x.{suffix}")
        assert_error(result, rf"{library} is missing; install it with: .*ner-edge\[{extra}\]", 2)


def test_every_format_has_a_row_in_the_documentation() -> None:
    page = (Path(__file__).parent.parent / "docs" / "formats.md").read_text(encoding="utf-8")
    for name, format in FORMATS.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))]
        assert cells[2:4] == ["yes" if format.read else "", "yes"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_a_stream_is_written_into(conll: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ner_edge", "convert", str(conll), "/dev/stdout"]
    found = subprocess.run([*command, "--to", "brackets"], capture_output=True, check=True)
    assert found.stdout == b"[Ada Lovelace | PER] met [Mary Somerville | PER] .\nNobody\n"
    assert_error(run("convert", conll, "/dev/null", "--to", "spacy"), "no stream of text", 2)


def test_the_rest_of_a_killed_conversion_is_removed(conll: Path, tmp_path: Path) -> None:
    left = tmp_path / ".brat.0123abcd.part"
    (left / "brat").mkdir(parents=True)
    run_ok("convert", conll, tmp_path / "brat", "--to", "brat")
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.conll", "brat"]
