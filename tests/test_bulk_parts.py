"""Parts: every row of every format is in the output once, with its other columns."""

import csv
import json
import re
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow
import pytest
from bulk_parts import make_parts, plan_of, rows_in, rows_of
from command_line import assert_error, run
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from stub_tagger import stub_tagger  # noqa: F401 (a fixture)

from ner_edge.bulk import attempts, parts
from ner_edge.bulk.attempts import Attempts
from ner_edge.bulk.part_file import Counts, counts_in
from ner_edge.errors import DataError, NerEdgeError, UsageError

CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), max_size=8)
LINE = CELL.map(lambda text: text.replace("\n", ""))
few = settings(max_examples=30)


def part_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!_.]*"))


@few
@given(st.lists(LINE, min_size=1, max_size=9), st.integers(1, 4), st.booleans(), st.booleans())
def test_every_line_of_a_text_file_is_a_row(lines, size, signature, ended):
    lines = [*lines, "end"]
    data = "\n".join(lines).encode() + b"\n" * ended
    with TemporaryDirectory() as folder:
        path = Path(folder, "news.txt")
        path.write_bytes(b"\xef\xbb\xbf" * signature + data)
        rows = rows_of([path], Path(folder, "out"), part_size=size)
        assert len(part_names(Path(folder, "out"))) == -(-len(lines) // size)
    assert [row["text"] for row in rows] == lines


@few
@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=9), st.integers(1, 4))
def test_every_row_of_a_table_is_a_row(cells, size):
    table = StringIO()
    csv.writer(table, quoting=csv.QUOTE_ALL).writerows([("id", "body"), *cells])
    with TemporaryDirectory() as folder:
        path = Path(folder, "news.csv")
        path.write_text(table.getvalue(), encoding="utf-8", newline="")
        rows = rows_of([path], Path(folder, "out"), part_size=size, text_column="body")
    assert [(row["id"], row["body"]) for row in rows] == cells


JSON = st.dictionaries(st.sampled_from("abc"), st.none() | st.integers() | CELL | st.lists(CELL))


@few
@given(st.lists(JSON, min_size=1, max_size=9), st.integers(1, 4))
def test_every_object_is_a_row_with_all_its_fields(records, size):
    records = [record | {"text": "Ada"} for record in records]
    with TemporaryDirectory() as folder:
        path = Path(folder, "news.jsonl")
        path.write_text("\n\n".join(map(json.dumps, records)))
        rows = rows_of([path], Path(folder, "out"), part_size=size)
    for row, record in zip(rows, records, strict=True):
        assert [e["text"] for e in row.pop("entities")] == ["Ada"]
        assert row == record | {"error": None}


@few
@given(st.lists(st.none() | CELL, min_size=1, max_size=20), st.integers(1, 4), st.integers(1, 7))
def test_every_row_of_parquet_is_a_row_of_the_same_type(texts, size, group):
    ids = pyarrow.array(range(len(texts)), pyarrow.int16())
    table = pyarrow.table({"id": ids, "text": pyarrow.array(texts, pyarrow.string())})
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "news.parquet"), Path(folder, "out")
        parquet.write_table(table, path, row_group_size=group)
        rows_of([path], out, part_size=size, format="parquet")
        made = pyarrow.concat_tables([parquet.read_table(out / name) for name in part_names(out)])
    assert made.select(["id", "text"]).equals(table)
    errors = [None if isinstance(text, str) else "is null" for text in texts]
    assert made["error"].to_pylist() == errors


def test_long_texts_make_smaller_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 20)
    (tmp_path / "a.txt").write_text("a text with 21 bytes\n" * 2 + "short\n" * 3)
    plan = plan_of([tmp_path / "a.txt"], tmp_path / "out", part_size=3)
    assert [planned.part.rows for planned in plan.parts] == [1, 1, 3]


def test_the_name_of_a_part_says_what_it_holds(tmp_path):
    (tmp_path / "my news.2024.txt").write_text("a\n" * 12)
    (tmp_path / "b.txt").write_text("b\n")
    plan = plan_of([tmp_path / "my news.2024.txt", tmp_path / "b.txt"], tmp_path / "o", part_size=5)
    assert [planned.file for planned in plan.parts] == [
        "1-my-news.2024-01-05.jsonl",
        "1-my-news.2024-06-10.jsonl",
        "1-my-news.2024-11-12.jsonl",
        "2-b-1-1.jsonl",
    ]


def test_broken_rows_are_kept_with_their_errors(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": "Ada", "id": 1}\nno json\n[1]\n\n{"id": 2}\n{"text": 3}\n{"text": null}\n'
    )
    rows = rows_of([tmp_path / "a.jsonl"], tmp_path / "json")
    assert [(row.get("text"), row["error"]) for row in rows] == [
        ("Ada", None),
        ("no json", "a.jsonl:2: not valid JSON (JSON is malformed: invalid character)"),
        ("[1]", "a.jsonl:3: is no JSON object"),
        (None, "a.jsonl:5: has no text"),
        (3, "is no string, but int"),
        (None, "is null"),
    ]
    typed = rows_of([tmp_path / "a.jsonl"], tmp_path / "parquet", format="parquet")
    assert [row["error"] for row in typed] == [row["error"] for row in rows]
    assert [row["text"] for row in typed] == ["Ada", "no json", "[1]", None, "3", None]
    (tmp_path / "a.csv").write_bytes(b"id;text\n1;Ada\n2\n3;Ada;x\n4;\xff\n")
    assert [
        (row["id"], row["text"], row["error"])
        for row in rows_of([tmp_path / "a.csv"], tmp_path / "csv")
    ] == [
        ("1", "Ada", None),
        ("2", None, "a.csv:3: has 1 cells, but the table has 2 columns"),
        ("3", "Ada", "a.csv:4: has 3 cells, but the table has 2 columns"),
        ("4", "\ufffd", "is not UTF-8 (byte 0xff)"),
    ]
    (tmp_path / "a.txt").write_bytes(b"Ada\nA\xffda\n")
    assert [row["error"] for row in rows_of([tmp_path / "a.txt"], tmp_path / "text")] == [
        None,
        "is not UTF-8 (byte 0xff)",
    ]


def test_a_file_of_broken_lines_is_kept_too(tmp_path):
    (tmp_path / "a.jsonl").write_text("Ada\nBob\n")
    rows = rows_of([tmp_path / "a.jsonl"], tmp_path / "out", format="parquet")
    assert [row["text"] for row in rows] == ["Ada", "Bob"]
    assert all(str(row["error"]).startswith("a.jsonl:") for row in rows)


@pytest.mark.usefixtures("stub_tagger")
def test_entities_are_those_of_tag(tmp_path):
    (tmp_path / "a.txt").write_text("Ada Lovelace lived in London.\n")
    (row,) = rows_of([tmp_path / "a.txt"], tmp_path / "out")
    tagged = run("tag", tmp_path / "a.txt", "--format", "jsonl")
    assert row == json.loads(tagged.stdout) | {"error": None}


BROKEN = {
    "a.csv": (b"id,body\n1,Ada\n", r"a.csv: has no column named text; its columns are id, body; "),
    "b.jsonl": (b'{"body": "Ada"}\n', r"b.jsonl: has no column named text; its columns are body; "),
    "c.txt": (b"", r"c.txt: holds no text\n"),
    "d.jsonl": (b"\n\n", r"d.jsonl: holds no text\n"),
    "e.csv": (b"text\n", r"e.csv: holds no text\n"),
    "f.parquet": (b"PAR1 and half a file", r"f.parquet: not Parquet \("),
    "g.csv": (b'text\n"Ada\n', r"g.csv:2: not CSV \(unexpected end of data\)\n"),
    "h.jsonl": (b'{"text": "a", "error": 1}', r"h.jsonl: has a column named error, which bulk "),
    "i.log": (b"Ada\n", r"i.log: which format\? Name it with --from: text, jsonl, csv, parquet\n"),
    "j.txt": ("Ada\n".encode("utf-16"), r"j.txt: is UTF-16; convert it to UTF-8\n"),
    "k.csv": (b"text,text\n", r"k.csv: has two columns named 'text'; rename one\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_used_is_one_line_before_any_work(name, tmp_path):
    data, pattern = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    (tmp_path / "z.txt").write_text("Ada\n")
    result = run("bulk", tmp_path / name, tmp_path / "z.txt", "--out", tmp_path / "out")
    assert_error(result, pattern, 2 if name == "i.log" else 1)
    assert not (tmp_path / "out").exists()


def test_other_inputs_that_cannot_be_used(tmp_path):
    table = pyarrow.table({"text": [1]})
    parquet.write_table(table, tmp_path / "numbers.parquet")
    for arguments, pattern in (
        (["absent.txt"], "absent.txt: no such file"),
        (["absent-*.txt"], r"absent-\*.txt: no such file"),
        (["/dev/zero", "--from", "text"], "/dev/zero: is not a file"),
        ([tmp_path / "numbers.parquet"], "the column text holds int64, not text"),
        (["moon://a/b.txt"], r"moon://a/b.txt: cannot be read \(Unrecognized filesystem"),
    ):
        assert_error(run("bulk", *arguments, "--out", tmp_path / "out"), pattern)


def test_files_with_other_columns_do_not_share_a_schema(tmp_path):
    parquet.write_table(pyarrow.table({"text": ["a"], "n": [1]}), tmp_path / "a.parquet")
    parquet.write_table(pyarrow.table({"text": ["b"], "n": ["x"]}), tmp_path / "b.parquet")
    inputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    with pytest.raises(DataError, match=r"b.parquet: its columns are not those of .*a.parquet"):
        plan_of(inputs, tmp_path / "out", format="parquet")
    assert [row["n"] for row in rows_of(inputs, tmp_path / "out")] == [1, "x"]


def test_a_field_of_several_types_needs_json_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": "x"}\n')
    with pytest.raises(DataError, match=r"the field 'n' does not fit a column .*--format jsonl"):
        plan_of([tmp_path / "a.jsonl"], tmp_path / "out", format="parquet")


def test_types_are_those_of_all_parts_and_files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a", "n": 1}\n{"text": "b", "n": null}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "a", "n": 1.5}\n')
    rows_of([tmp_path / "*.jsonl"], tmp_path / "out", part_size=1, format="parquet")
    schemas = {str(parquet.read_schema(path)) for path in (tmp_path / "out").glob("*.parquet")}
    assert len(schemas) == 1
    assert re.search("n: double", schemas.pop())


def test_a_part_that_cannot_be_read_fails_alone(tmp_path):
    path = tmp_path / "a.parquet"
    texts = [f"{'x' * i}Ada {i}" for i in range(40)]
    parquet.write_table(pyarrow.table({"text": texts}), path, row_group_size=20, compression=None)
    data = bytearray(path.read_bytes())
    start = data.index(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxAda")
    data[start - 2000 if start > 2000 else start - 200 : start] = b"\xff" * min(2000, 200)
    path.write_bytes(data)
    done = make_parts(plan_of([path], tmp_path / "out", part_size=20))
    assert sum(part.error is None for part in done) == 1
    assert any("a.parquet: not Parquet (" in (part.error or "") for part in done)


def test_a_file_that_changed_after_it_was_planned_fails(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\nBob\n")
    parquet.write_table(pyarrow.table({"text": ["Ada"]}), tmp_path / "b.parquet")
    plan = plan_of([tmp_path / "a.txt", tmp_path / "b.parquet"], tmp_path / "out", part_size=1)
    (tmp_path / "a.txt").write_text("Ada\nBoo\n")
    parquet.write_table(pyarrow.table({"text": ["Eve"]}), tmp_path / "b.parquet")
    errors = [part.error for part in make_parts(plan)]
    assert errors[0] is None
    assert all("changed after this run began" in str(error) for error in errors[1:])
    assert part_names(tmp_path / "out") == ["1-a-1-1.jsonl"]


def test_a_part_whose_workers_died_again_and_again_is_given_up(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    plan = plan_of([tmp_path / "a.txt"], tmp_path / "out")
    counter = Attempts("test")
    try:
        begun = [counter.begin(plan.parts[0].file) for _ in range(attempts.MOST)]
        assert begun == list(range(1, attempts.MOST + 1))
        (done,) = make_parts(plan)
    finally:
        counter.close()
    assert done.error == "its worker died 10 times"
    assert part_names(tmp_path / "out") == []


def test_a_worker_that_dies_whenever_it_loads_the_model_stops_the_run(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    plan = plan_of([tmp_path / "a.txt"], tmp_path / "out")
    counter = Attempts("test")
    try:
        for _ in range(attempts.MOST):
            counter.begin("worker")  # its name without Ray
        (done,) = make_parts(plan)
    finally:
        counter.close()
    assert done.fatal
    assert ": a worker died 10 times while it loaded the model; if memory" in str(done.error)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_counts_of_a_file_are_those_of_its_part(format, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "Ada"}\n{"text": null}\n{"text": "Ada or Bob"}\n')
    plan = plan_of([tmp_path / "a.jsonl"], tmp_path / "out", format=format)
    (done,) = make_parts(plan)
    assert done.counts == Counts(texts=3, entities=3, failed=1)
    file = plan.out.child(done.file)
    assert counts_in(file) == done.counts
    path = Path(file.url)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="is damaged"):
        counts_in(file)


def test_a_machine_without_the_folders_stops_the_run(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    plan = plan_of([tmp_path / "a.txt"], tmp_path / "out")
    make_parts(plan)
    (tmp_path / "a.txt").unlink()
    (done,) = make_parts(plan)
    assert done.fatal
    assert str(done.error).endswith("a.txt: no such file")


def test_the_output_may_not_lie_in_the_input(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    with pytest.raises(UsageError, match="lies in"):
        plan_of([tmp_path], tmp_path / "out")


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"is not empty, and holds no _manifest.json"):
        plan_of([tmp_path / "a.txt"], tmp_path / "out")
    (tmp_path / "out" / "_manifest.json").write_text("{}")
    with pytest.raises(NerEdgeError, match="not a manifest of bulk"):
        plan_of([tmp_path / "a.txt"], tmp_path / "out")


def test_urls_of_file_systems_are_read_and_written(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b.txt", "a.txt", ".hidden.txt", "_manifest.json"):
        (tmp_path / "in" / name).write_text(f"Ada {name}\n")
    out = tmp_path / "out"
    plan = plan_of([f"file://{tmp_path}/in/*.txt"], out)
    plan = plan_of([f"file://{tmp_path}/in"], f"file://{out}")
    assert [done.error for done in make_parts(plan)] == [None, None]
    assert [row["text"] for row in rows_in(out)] == ["Ada a.txt", "Ada b.txt"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Ada\n")
    assert len(rows_of(["a.txt", "./*.txt", tmp_path / "a.txt"], tmp_path / "out")) == 1


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    (tmp_path / "a.txt").write_text("Ada\n")
    plan = plan_of([tmp_path / "a.txt"], tmp_path / "out")
    plan.out.make()
    with (
        plan.out.exclusive(),
        pytest.raises(NerEdgeError, match=r"another ner-edge is writing into it"),
        plan.out.exclusive(),
    ):
        pass
