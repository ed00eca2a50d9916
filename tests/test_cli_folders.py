"""`ner-edge tag --out`: every file of a folder is tagged once, and whole or not at all."""

import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_error, run, run_ok
from stub_tagger import stub_tagger as stub_tagger
from test_cli_redact import files_in, write_files

from ner_edge.files.journal import Journal
from ner_edge.folders.tag import JOURNAL, Done

FILES = {
    "a.txt": b"Ada met Bob.\nCarla left.\n",
    "sub/no suffix": b"\xef\xbb\xbfAda\r\n\r\nBob",
    "sub/deep/z\xc3\xb6.md".encode("latin-1").decode(): b"",
    "-o": b"Dora",
    "new\nline": "\ufeffEva".encode("utf-16-le"),
}


@pytest.fixture
def folder(tmp_path: Path, stub_tagger: object) -> Path:
    return write_files(tmp_path / "in", FILES)


def results(out: Path) -> dict[str, bytes]:
    """What is in the folder, but for the journal."""
    return {name: content for name, content in files_in(out).items() if name != JOURNAL}


@pytest.mark.parametrize("format", ["brackets", "jsonl", "conll", "redacted"])
def test_each_result_is_that_of_the_file_alone(folder, tmp_path, format):
    out = tmp_path / "out"
    result = run("tag", folder, "--out", out, "--format", format)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "5 files tagged\n"
    alone = {
        f"{name}.{format}": run_ok("tag", "--format", format, "--", folder / name).encode()
        for name in FILES
    }
    assert results(out) == alone


def test_what_is_done_is_skipped(folder, tmp_path, stub_tagger):
    out = tmp_path / "out"
    arguments = ["tag", folder, "--out", out]
    run(*arguments)
    before = files_in(out)
    stub_tagger.texts.clear()
    assert run(*arguments).stderr == "0 files tagged, 5 were done before\n"
    assert (files_in(out), stub_tagger.texts) == (before, [])
    (folder / "a.txt").write_bytes(b"Eva\n")  # changed
    (out / "-o.brackets").unlink()  # lost
    write_files(folder, {"b.txt": b"Flora"})  # new
    assert run(*arguments).stderr == "3 files tagged, 3 were done before\n"
    assert sorted(stub_tagger.texts) == ["Dora", "Eva", "Flora"]
    assert run(*arguments, "--min-score", "0.5").stderr == "6 files tagged\n"
    stub_tagger.version = "another"
    assert run(*arguments, "--min-score", "0.5").stderr == "6 files tagged\n"
    assert run(*arguments, "--format", "jsonl").stderr == "6 files tagged\n"
    assert len(results(out)) == 12
    again = run(*arguments, "--min-score", "0.5")
    assert again.stderr == "0 files tagged, 6 were done before\n"


def test_what_cannot_be_read_is_reported_and_the_others_are_tagged(folder, tmp_path):
    write_files(folder, {"photo.jpg": b"\xff\xd8\0\0Ada", "bad.txt": b"\xff\xfe\0"})
    (folder / "broken").symlink_to("nowhere")
    (folder / "link.txt").symlink_to(folder / "a.txt")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe")
    result = run("tag", folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    for reason in (
        "photo.jpg: is a binary file",
        "broken: no such file",
        "loop: is a link to a folder, which is not followed",
        "pipe: is a pipe, not a file",
    ):
        assert any(line == f"left out: {folder}/{reason}" for line in lines), reason
    assert lines[-1] == "error: not everything is in the results: 4 left out"
    found = results(tmp_path / "out")
    assert found["link.txt.brackets"] == found["a.txt.brackets"]
    assert len(found) == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permissions(folder, tmp_path):
    (folder / "a.txt").chmod(0)
    (folder / "sub").chmod(0)
    result = run("tag", folder, "--out", tmp_path / "out")
    assert result.stderr.count("cannot be read (Permission denied)") == 2


def test_names_that_are_not_utf8(folder, tmp_path):
    try:
        (folder / os.fsdecode(b"z\xf6.txt")).write_bytes(b"Ada")
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    assert run("tag", folder, "--out", tmp_path / "out").stderr == "6 files tagged\n"
    assert (tmp_path / "out" / os.fsdecode(b"z\xf6.txt.brackets")).read_text() == "[Ada | PER]\n"
    assert "5" not in run("tag", folder, "--out", tmp_path / "out").stderr.partition(",")[0]


def test_places_for_the_results(folder, tmp_path):
    assert_error(run("tag", folder), r"in: is a folder, not a file; --out FOLDER tags the files")
    assert_error(run("tag", folder, "--out", folder), "lies in .*/in", 2)
    assert_error(run("tag", folder, "--out", folder / "out"), "lies in .*/in", 2)
    assert_error(run("tag", folder, "--out", tmp_path), "contains .*/in", 2)
    assert_error(run("tag", folder, "--out", folder / "a.txt"), "is not a folder", 2)
    assert_error(run("tag", "--out", tmp_path / "out"), "which format", 2)
    assert_error(run("tag", folder, "--format", "brat", "--out", tmp_path / "out"), "tag one", 2)
    assert_error(run("tag", tmp_path / "no", folder, "--out", tmp_path / "o"), "no such file or")
    (tmp_path / "link").symlink_to(folder)
    assert_error(run("tag", folder, "--out", tmp_path / "link" / "x"), "lies in .*/in", 2)
    assert_error(run("tag", tmp_path / "a.docx"), "a.docx: is no plain text; --out FOLDER", 2)
    assert not (tmp_path / "out").exists()


def test_several_files_and_folders(folder, tmp_path):
    write_files(tmp_path / "more", {"a.txt": b"Eva", "c.txt": b"Flora"})
    result = run("tag", folder / "a.txt", tmp_path / "more", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert f"more/a.txt: its result would have the name of that of {folder}/a.txt" in result.stderr
    assert set(results(tmp_path / "out")) == {"a.txt.brackets", "c.txt.brackets"}


def test_offsets_are_those_of_the_extracted_text(stub_tagger, tmp_path):
    pytest.importorskip("docx")
    from documents import save_docx, save_mail, save_pdf

    folder = tmp_path / "in"
    folder.mkdir()
    save_docx(folder / "a.docx", "Ada met Bob.", "Carla left.")
    save_pdf(folder / "b.PDF", "Ada in Ghent")
    save_mail(folder / "c.eml", "Eva wrote.")
    (folder / "d.html").write_text("<h1>Ada</h1><p>met Bob")
    out = tmp_path / "out"
    assert run("tag", folder, "--out", out, "--format", "jsonl").exit_code == 0
    assert len(results(out)) == 8
    for name in ("a.docx", "b.PDF", "c.eml", "d.html"):
        text = (out / f"{name}.txt").read_text()
        (record,) = map(json.loads, (out / f"{name}.jsonl").read_text().splitlines())
        assert record["text"] == text
        assert record["entities"]
        for entity in record["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]
    (out / "a.docx.txt").unlink()
    assert run("tag", folder, "--out", out, "--format", "jsonl").stderr.startswith("1 file tagged")


def test_two_runs_at_a_time_are_refused(folder, tmp_path, stub_tagger):
    messages: list[Any] = []

    def pipe(texts, document):
        if not messages:
            messages.append("")
            messages[0] = run("tag", folder, "--out", tmp_path / "out")
        for _ in texts:
            yield []

    stub_tagger.pipe = pipe
    assert run("tag", folder, "--out", tmp_path / "out").exit_code == 0
    assert_error(messages[0], "another ner-edge is writing into it")


def test_a_journal_survives_a_torn_record(tmp_path):
    path = tmp_path / "journal"
    records = [Done(str(i), "content", "run") for i in range(3)]
    with Journal(path, Done) as journal:
        for record in records[:2]:
            journal.append(record)
    path.write_bytes(path.read_bytes()[:-5])
    with Journal(path, Done) as journal:
        assert list(journal.records()) == records[:1]
        journal.append(records[2])
    path.write_bytes(path.read_bytes() + b'\xff\n{"name": 1}\n[[[\n')
    with Journal(path, Done) as journal:
        assert list(journal.records()) == [records[0], records[2]]


def test_killed_again_and_again(tiny, tmp_path):
    contents = {f"{i % 7}/{i:03}.txt": f"Ada met Bob {i} .\n".encode() * 3 for i in range(150)}
    folder = write_files(tmp_path / "in", contents)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "ner_edge", "tag", folder, "--out", out, "--format", "jsonl"]
    command += ["-m", tiny.gguf, "--threads", "1"]
    randomness = random.Random(1)
    for kill in range(4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wanted = 25 * (kill + 1) + randomness.randrange(10)
        while process.poll() is None and number_done(out) < wanted:
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert_whole(out, contents)
        assert number_done(out) < len(contents)
    done = number_done(out)
    last = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert last.stderr == f"{150 - done} files tagged, {done} were done before\n"
    assert_whole(out, contents)
    assert set(results(out)) == {f"{name}.jsonl" for name in contents}
    records = [json.loads(line)["name"] for line in (out / JOURNAL).read_text().splitlines()]
    assert sorted(records) == sorted(f"{name}.jsonl" for name in contents)


def number_done(out: Path) -> int:
    with suppress(OSError):
        return (out / JOURNAL).read_bytes().count(b"}\n")
    return 0


def assert_whole(out: Path, contents: dict[str, bytes]) -> None:
    for name, result in results(out).items():
        if not name.startswith("."):
            texts = [json.loads(line)["text"] for line in result.decode().splitlines()]
            assert texts == contents[name.removesuffix(".jsonl")].decode().splitlines()
