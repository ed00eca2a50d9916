"""Odd input: each row is in the output once, or one line says before any work what is wrong."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from bulk_parts import make_parts, plan_of, rows_in, rows_of
from command_line import run
from pyarrow import parquet

from ner_edge.bulk import parts, storage
from ner_edge.bulk.part_file import counts_in
from ner_edge.errors import DataError, UsageError

OBJECT = b'{"text": "Ada"}\n'


def written(path: Path, data: bytes = b"Ada\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def texts(rows: list[Any]) -> list[Any]:
    return [(row["text"], row["error"]) for row in rows]


def not_utf8(kind: Any) -> Any:
    """Return an array of "Ada", two texts of which one is no UTF-8, and null."""
    values = pyarrow.array([b"Ada", b"Ada \xff", None], pyarrow.binary())
    column = pyarrow.Array.from_buffers(pyarrow.string(), 3, values.buffers())
    return column.dictionary_encode() if pyarrow.types.is_dictionary(kind) else column.cast(kind)


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf\n" + OBJECT, b"\xef\xbb\xbf \r\n\n" + OBJECT])
def test_an_empty_first_line_with_a_signature_is_no_row(data, tmp_path):
    assert texts(rows_of([written(tmp_path / "a.jsonl", data)], tmp_path / "out")) == [
        ("Ada", None)
    ]


def test_no_part_has_only_empty_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PART_BYTES", 20)
    data = b"\n" * 100 + OBJECT + b"\n" * 100 + b"no json\n" + b"\n" * 100
    plan = plan_of([written(tmp_path / "a.jsonl", data)], tmp_path / "out")
    assert [planned.part.rows for planned in plan.parts] == [1, 1]
    assert [done.error for done in make_parts(plan)] == [None, None]
    wrong = "a.jsonl:202: not valid JSON (JSON is malformed: invalid character)"
    assert texts(rows_in(tmp_path / "out")) == [("Ada", None), ("no json", wrong)]


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
    ],
)
def test_a_text_of_parquet_that_is_not_utf8_is_kept_with_its_error(kind, format, tmp_path):
    table = pyarrow.table({"text": not_utf8(kind), "id": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "a.parquet")
    rows = rows_of([tmp_path / "a.parquet"], tmp_path / "out", format=format)
    assert texts(rows) == [
        ("Ada", None),
        ("Ada \ufffd", "is not UTF-8 (byte 0xff)"),
        (None, "is null"),
    ]
    assert [row["id"] for row in rows] == [1, 2, 3]
    if format == "parquet":
        (part,) = (tmp_path / "out").glob("*.parquet")
        assert parquet.read_schema(part).field("text").type == kind


def test_another_column_that_is_not_utf8_is_named_as_the_reason(tmp_path):
    table = pyarrow.table({"text": ["a", "b", "c"], "n": not_utf8(pyarrow.string())})
    parquet.write_table(table, tmp_path / "a.parquet")
    (done,) = make_parts(plan_of([tmp_path / "a.parquet"], tmp_path / "out"))
    assert done.error == "a column is not UTF-8; use --format parquet"


def test_values_of_parquet_are_valid_json(tmp_path):
    values = [float("nan"), float("inf"), 1.5]
    nested: list[Any] = [{"x": [float("nan")], "y": b"\xff"}, None, {"x": [2.0], "y": b""}]
    table = pyarrow.table({"text": ["Ada"] * 3, "n": values, "nested": nested})
    parquet.write_table(table, tmp_path / "a.parquet")
    plan = plan_of([tmp_path / "a.parquet"], tmp_path / "out")
    (done,) = make_parts(plan)
    assert counts_in(plan.out.child(done.file)) == done.counts  # a run that goes on reads it
    (part,) = (tmp_path / "out").glob("*.jsonl")

    def no_json(constant: str) -> None:
        raise AssertionError(constant)

    rows = [json.loads(line, parse_constant=no_json) for line in part.read_text().splitlines()]
    assert [row["n"] for row in rows] == [None, None, 1.5]
    nested = [{"x": [None], "y": "/w=="}, None, {"x": [2.0], "y": ""}]
    assert [row["nested"] for row in rows] == nested


@pytest.mark.parametrize("names", [["text", "text"], ["text", "n", "n"]])
def test_two_columns_of_one_name_are_an_error(names, tmp_path):
    columns = [pyarrow.array(["a"])] * len(names)
    parquet.write_table(pyarrow.Table.from_arrays(columns, names=names), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=rf"a.parquet: has two columns named '{names[-1]}'"):
        plan_of([tmp_path / "a.parquet"], tmp_path / "out")


@pytest.mark.parametrize("value", ["{}", "[{}]", "[" * 120 + "]" * 120])
def test_a_field_that_parquet_cannot_hold_is_an_error_before_any_work(value, tmp_path):
    path = written(tmp_path / "a.jsonl", b'{"text": "Ada", "x": %s}\n' % value.encode())
    message = r"^the field 'x' does not fit a column of Parquet \(.*\); use --format jsonl$"
    with pytest.raises(DataError, match=message):
        plan_of([path], tmp_path / "out", format="parquet")
    (row,) = rows_of([path], tmp_path / "out")
    assert row["x"] == json.loads(value)


def test_a_table_whose_column_names_are_not_utf8_is_an_error(tmp_path):
    path = written(tmp_path / "a.csv", b"caf\xe9,text\n1,Ada\n")
    with pytest.raises(DataError, match=r"a.csv: is not UTF-8; convert it to UTF-8$"):
        plan_of([path], tmp_path / "out")


def test_broken_lines_do_not_become_a_column_that_is_added(tmp_path):
    path = written(tmp_path / "a.jsonl", b"Ada\n")
    with pytest.raises(DataError, match="has a column named entities, which bulk adds"):
        plan_of([path], tmp_path / "out", text_column="entities")


def test_a_table_with_line_ends_of_old_macs_is_refused_with_a_way_out(tmp_path):
    path = written(tmp_path / "a.csv", b"id,text\r1,Ada\r")
    with pytest.raises(DataError, match=r"a.csv:1: not CSV \(a carriage return .*; convert"):
        plan_of([path], tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("\u4e2d" * 83 + ".txt", "1-" + "\u4e2d" * 26 + "-1-1.jsonl"),
        ("n" * 250 + ".txt", "1-" + "n" * 80 + "-1-1.jsonl"),
        ("LETTERS", "1-LETTERS-1-1.jsonl"),
        ("a 'b\"#%41?\n.txt", "1-a-b-41--1-1.jsonl"),
    ],
)
def test_the_name_of_a_part_is_one_that_file_systems_take(name, part, tmp_path):
    path = written(tmp_path / name)
    assert texts(rows_of([path], tmp_path / "out", "text")) == [("Ada", None)]
    assert [path.name for path in (tmp_path / "out").glob("[!_.]*")] == [part]


def test_names_that_urls_quote_are_found_and_written(tmp_path):
    names = ["a b.txt", "b#c.txt", "d%41.txt", "\u00e9?.txt"]
    for name in names:
        written(tmp_path / "in" / name, f"Ada {name}\n".encode())
    inputs = [f"file://{tmp_path}/in"]
    plan = plan_of(inputs, f"file://{tmp_path}/out")
    assert [done.error for done in make_parts(plan)] == [None] * 4
    assert sorted(row["text"] for row in rows_in(tmp_path / "out")) == [f"Ada {n}" for n in names]
    assert sorted(source.name for source in plan.inputs) == names
    assert len(plan_of([f"file://{tmp_path}/in/*.txt"], tmp_path / "b").parts) == 4


def test_a_folder_is_read_once_however_many_links_lead_to_it(tmp_path):
    written(tmp_path / "in" / "a.txt", b"Ada\n")
    written(tmp_path / "elsewhere" / "b.txt", b"Bob\n")
    os.symlink(tmp_path / "in", tmp_path / "in" / "circle")
    os.symlink(tmp_path / "elsewhere", tmp_path / "in" / "link")
    rows = rows_of([tmp_path / "in"], tmp_path / "out")
    assert texts(rows) == [("Ada", None), ("Bob", None)]


def test_a_link_to_nothing_in_a_folder_is_an_error(tmp_path):
    written(tmp_path / "in" / "a.txt")
    os.symlink(tmp_path / "nowhere", tmp_path / "in" / "b.txt")
    with pytest.raises(DataError, match=r"b.txt: no such file"):
        plan_of([tmp_path / "in"], tmp_path / "out")


def test_a_name_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/b\xff.txt")).write_text("Ada\n")
    for name in ("in", "in/*.txt"):
        with pytest.raises(DataError, match="its name is not UTF-8"):
            plan_of([tmp_path / name], tmp_path / "out")


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=r"in: holds no file$"):
        plan_of([tmp_path / "in"], tmp_path / "out")


@pytest.mark.parametrize("pattern", ["{}/**/*", "file://{}/in"])
def test_a_run_that_goes_on_does_not_read_its_own_output(pattern, tmp_path):
    written(tmp_path / "in" / "a.txt")
    out = pattern.partition("/**")[0].format(tmp_path) + "/out"
    for _ in range(2):
        plan = plan_of([pattern.format(tmp_path)], out, "text")
        assert [done.error for done in make_parts(plan)] == [None]
    assert texts(rows_in(Path(out.removeprefix("file://")))) == [("Ada", None)]


def test_a_part_that_is_named_as_input_is_an_error(tmp_path):
    out = tmp_path / "out"
    rows_of([written(tmp_path / "a.txt")], out)
    for name in ("1-a-1-1.jsonl", "*.jsonl"):
        with pytest.raises(UsageError, match=r"out: contains .*jsonl, which is read"):
            plan_of([out / name], out)


def test_a_file_as_output_is_an_error(tmp_path):
    path = written(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"a.txt: is a file; give a folder"):
        plan_of([path], path)


@pytest.mark.parametrize("is_full", [True, False])
def test_a_full_disk_ends_the_run(is_full, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "disk_is_full", lambda folder: is_full)
    plan = plan_of([written(tmp_path / "a.txt")], tmp_path / "out")
    (tmp_path / "out" / plan.parts[0].file).mkdir(parents=True)
    (done,) = make_parts(plan)
    assert "cannot be written" in str(done.error)
    assert done.fatal == is_full


@pytest.mark.parametrize("data", [b"", b'{"model"', b"null", b"\xff", b"[" * 100_000])
def test_a_damaged_manifest_is_an_error_with_a_way_out(data, tmp_path):
    path = written(tmp_path / "a.txt")
    written(tmp_path / "out" / "_manifest.json", data)
    with pytest.raises(DataError, match=r"not a manifest of bulk \(.*\); give another folder$"):
        plan_of([path], tmp_path / "out")


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("bulk", option) for option in ("--min-score", "--memory", "--gpus")),
        ("tag", "--min-score"),
        ("redact", "--min-score"),
        ("serve", "--max-body"),
        ("serve", "--timeout"),
    ],
)
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_numbers_are_finite(command, option, value, tmp_path):
    files = [] if command == "serve" else [written(tmp_path / "a.txt"), "--out", tmp_path / "out"]
    result = run(command, *files, option, value)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert option in result.stderr
