"""`ner-edge redact` and `restore`: files and folders come back byte for byte."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_error, run
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from stub_tagger import stub_tagger as stub_tagger

from ner_edge.errors import NerEdgeError
from ner_edge.redaction.key import read_key

pytestmark = pytest.mark.usefixtures("stub_tagger")
GUARANTEE = "There is no guarantee that every name was found: read the result"
CONTENTS = [
    b"",
    b"Ada Lovelace met Bob .\n",
    b"no final newline: Ada Lovelace",
    b"\xef\xbb\xbfAda\r\nBob\rCarla\n\r\n",
    "\ufeffAda met Zoe\u0301 in Paris.\r\n[PER_1]".encode("utf-16-le"),
    "\ufeffAda met 👩\u200d👩\u200d👧 in Paris.\n".encode("utf-32-be"),
    b"latin-1: Zo\xeb, Ada \xff\xfe and NUL \0 Bob",
    "Ada\u2028Bob\x85Carla\x1cDora\u200bEva \u202eFlora".encode(),
    b"[PER_1] [PER_2] [LOC_1] Ada [PER_",
    "東京 Ada Über-Ada \uffff \U0010ffff".encode(),
    "\ufeffa\ud800 Ada".encode("utf-16-le", "surrogatepass"),
]


def write_files(folder: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_comes_back(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    key, redacted = tmp_path / "key.json", tmp_path / "b.txt"
    result = run("redact", tmp_path / "a.txt", "-o", redacted, "--key", key)
    assert (result.exit_code, result.stdout) == (0, "")
    assert GUARANTEE in result.stderr
    for name in ("Ada", "Bob", "Paris"):
        for encoding in ("utf-8", "utf-16-le", "utf-32-be"):
            assert name.encode(encoding) not in redacted.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    result = run("restore", redacted, "--key", key)
    assert (result.exit_code, result.stdout_bytes) == (0, content)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(["Ada ", "Bob", "[PER_1]", "ada@x.org ", "\r\n", "\r", "\ufeff", "\ud9ff"])
        | st.text(max_size=5)
    ).map("".join),
    st.sampled_from(["utf-8", "utf-16-le", "utf-32-be"]),
)
def test_any_file_comes_back(tmp_path_factory, text, encoding):
    assume(encoding != "utf-16-le" or not text.startswith("\0"))  # the signature of UTF-32
    folder = tmp_path_factory.mktemp("any")
    signature = "" if encoding == "utf-8" else "\ufeff"
    content = (signature + text).encode(encoding, "surrogatepass")
    (folder / "a.txt").write_bytes(content)
    run("redact", folder / "a.txt", "-o", folder / "b.txt", "--key", folder / "key")
    result = run("restore", folder / "b.txt", "--key", folder / "key")
    assert (result.exit_code, result.stdout_bytes) == (0, content)


def test_standard_streams(tmp_path):
    key = tmp_path / "key"
    redacted = run("redact", "--key", key, stdin=b"Ada met Bob in Ghent.\r\n")
    assert redacted.stdout_bytes == b"[PER_1] met [LOC_1] in [LOC_2].\r\n"
    assert run("restore", "-", "--key", key, stdin=redacted.stdout_bytes).stdout_bytes == (
        b"Ada met Bob in Ghent.\r\n"
    )


FOLDER = {
    "a.txt": b"Ada met Bob.\n",
    "sub/b.txt": b"Bob\r\nand the ADA of ada@example.org\n[LOC_1]",
    "sub/deep/.hidden": b"Carla",
    "empty": b"",
}
REDACTED = {
    "a.txt": b"[PER_1] met [LOC_2].\n",
    "sub/b.txt": b"[LOC_2]\r\nand the [PER_1] of [ADDRESS_1]\n[LOC_1]",
    "sub/deep/.hidden": b"[PER_2]",
    "empty": b"",
}


def test_a_folder_has_one_numbering_and_comes_back(tmp_path):
    write_files(tmp_path / "in", FOLDER)
    key = tmp_path / "key"
    result = run("redact", tmp_path / "in", "-o", tmp_path / "out", "--key", key)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0] == "6 places replaced in 4 files, by 4 placeholders"
    assert files_in(tmp_path / "out") == REDACTED
    result = run("restore", tmp_path / "out", "--key", key, "-o", tmp_path / "back")
    assert result.stderr == "4 files restored exactly, 0 edited files\n"
    assert files_in(tmp_path / "back") == FOLDER


def test_a_second_run_gives_the_same_and_tags_only_what_is_new(tmp_path, stub_tagger):
    write_files(tmp_path / "in", FOLDER)
    arguments = ["redact", tmp_path / "in", "-o", tmp_path / "out", "--key", tmp_path / "key"]
    assert run(*arguments).exit_code == 0
    first = files_in(tmp_path)
    tagged = len(stub_tagger.texts)
    assert run(*arguments).exit_code == 0
    assert files_in(tmp_path) == first
    assert len(stub_tagger.texts) == tagged
    write_files(tmp_path / "in", {"new.txt": b"Dora"})
    result = run(*arguments[:4], "--key", tmp_path / "key2")
    assert result.exit_code == 0
    assert stub_tagger.texts[tagged:] == ["Dora"]


def test_the_remains_of_a_run_that_was_killed_while_it_wrote(tmp_path):
    write_files(tmp_path / "in", FOLDER)
    write_files(tmp_path / "out", {".ner-edge.0123abcd.part/0": b"[PER_1]", "a.txt": b"[PER_1]"})
    assert run("redact", tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    assert files_in(tmp_path / "out") == REDACTED


def test_an_interrupted_run_is_completed_with_its_key(tmp_path, monkeypatch):
    write_files(tmp_path / "in", FOLDER)
    arguments = ["redact", tmp_path / "in", "-o", tmp_path / "out", "--key", tmp_path / "key"]
    placed: list[Path] = []

    def interrupt(source, target):
        if len(placed) == len(FOLDER) + 3:  # all in a hidden folder, the key, and two files
            raise KeyboardInterrupt
        placed.append(target)
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupt)
        assert run(*arguments).exit_code == 130
    assert placed[len(FOLDER)] == tmp_path / "key"
    assert run(*arguments).exit_code == 0
    assert files_in(tmp_path / "out") == REDACTED


def test_the_key_of_another_redaction_is_never_replaced(tmp_path):
    write_files(tmp_path, {"a.txt": b"Ada", "b.txt": b"Carla"})
    key = tmp_path / "key"
    assert run("redact", tmp_path / "a.txt", "-o", tmp_path / "x", "--key", key).exit_code == 0
    before = key.read_bytes()
    for source in ("a.txt", "b.txt"):
        (tmp_path / "a.txt").write_bytes(b"Ada and Bob")
        result = run("redact", tmp_path / source, "-o", tmp_path / "y", "--key", key)
        assert_error(result, "is the key of another redaction", 2)
        assert not (tmp_path / "y").exists()
    (tmp_path / "note").write_text("Ada")
    result = run("redact", tmp_path / "a.txt", "--key", tmp_path / "note")
    assert_error(result, "note: not a redaction key")
    assert "Ada" not in result.stderr
    assert key.read_bytes() == before


def test_places_that_would_give_names_away(tmp_path):
    write_files(tmp_path / "in", {"a.txt": b"Ada"})
    source, out = tmp_path / "in", tmp_path / "out"
    for option in ("--key", "--review"):
        assert_error(run("redact", source, "-o", out, option, source / "k"), "lies in .*/in", 2)
        out.mkdir(exist_ok=True)
        assert_error(run("redact", source, "-o", out, option, out / "k"), "may be passed on", 2)
    assert_error(run("redact", source, "-o", source / "out"), "lies in .*/in", 2)
    assert_error(run("redact", source, "-o", tmp_path), "contains .*/in", 2)
    assert_error(run("redact", source / "none"), "none: no such file or folder")
    assert_error(run("redact", source), "is a folder; --out names the folder", 2)
    assert_error(run("redact", source / "a.txt", "-o", source / "a.txt"), "would replace", 2)
    write_files(out, {"old.txt": b"[PER_1]"})
    assert_error(run("redact", source, "-o", out), "contains old.txt, which is not of this", 2)


def test_a_file_that_cannot_be_read_is_one_error(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfeA")
    result = run("redact", tmp_path / "a.txt")
    assert_error(result, "a.txt: starts with the signature of UTF-16, but is not that")
    assert_error(run("restore", tmp_path / "a.txt", "--key", tmp_path / "k"), "k: no such file")


def test_labels_and_least_score(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Ada Lovelace met Bob\nand Carla in Paris.")
    only = run("redact", tmp_path / "a.txt", "--label", "PER")
    assert only.stdout == "[PER_1] met Bob\nand [PER_2] in Paris."
    review = tmp_path / "review.tsv"
    sure = run("redact", tmp_path / "a.txt", "--min-score", "0.6", "--review", review)
    assert sure.stdout == "[PER_1] met Bob\nand Carla in Paris."
    assert sure.stderr.splitlines()[1:5] == [
        "3 entities stayed, with a score below 0.6:",
        "  a.txt:1:18: LOC, 0.30",
        "  a.txt:2:5: PER, 0.50",
        "  a.txt:2:14: LOC, 0.50",
    ]
    assert review.stat().st_mode & 0o777 == 0o600
    rows = [row.split("\t") for row in review.read_text().splitlines()]
    assert rows[2] == ["a.txt", "2", "5", "PER", "0.5000", "Carla"]
    assert_error(run("redact", tmp_path / "a.txt", "--label", "ORG"), "labels are PER, LOC", 2)


def test_an_unsure_entity_whose_name_is_sure_elsewhere_is_replaced(tmp_path):
    # The stub reads two names, which score lower, where there are two spaces.
    (tmp_path / "a.txt").write_bytes(b"Countess Ada saw Countess  Ada.")
    result = run("redact", tmp_path / "a.txt", "--min-score", "1")
    assert result.stdout == "[PER_1] saw [PER_1]."
    assert "stayed" not in result.stderr


def test_no_everywhere(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Ada (ada@x.org)")
    assert run("redact", tmp_path / "a.txt").stdout == "[PER_1] ([ADDRESS_1])"
    assert run("redact", tmp_path / "a.txt", "--no-everywhere").stdout == "[PER_1] (ada@x.org)"


def test_names_of_files_are_mentioned_and_invalid_bytes_too(tmp_path):
    (tmp_path / "letter-to-ada.txt").write_bytes(b"fine\nAda Zo\xeb")
    result = run("redact", tmp_path / "letter-to-ada.txt")
    assert "letter-to-ada.txt:2: not UTF-8; names there may be missed" in result.stderr
    assert "the name of this file may hold a name that was replaced" in result.stderr


@pytest.fixture
def redacted(tmp_path):
    write_files(tmp_path / "in", {"a.txt": b"Ada Lovelace lived in the town of Ghent.\n"})
    key, out = tmp_path / "key", tmp_path / "out"
    run("redact", tmp_path / "in", "-o", out, "--key", key)
    assert (out / "a.txt").read_bytes() == b"[PER_1] lived in the town of [LOC_1].\n"
    return out / "a.txt", key


def test_an_edited_text_is_restored_with_a_warning(redacted):
    path, key = redacted
    path.write_bytes(b"In the town of [LOC_1], [LOC_1], lived [PER_7].\n")
    result = run("restore", path, "--key", key)
    assert result.stdout == "In the town of Ghent, Ghent, lived [PER_7].\n"
    assert [line.partition(f"{path}: ")[2] for line in result.stderr.splitlines()] == [
        "was edited after it was redacted",
        "[PER_1] occurs no more",
        "[PER_7] is not in the key and stays",
        "",
    ]


def test_a_wrong_key(redacted, tmp_path):
    path, _ = redacted
    write_files(tmp_path / "other", {"a.txt": b"this morning Dora wrote a letter to Bob."})
    run("redact", tmp_path / "other", "-o", tmp_path / "o", "--key", tmp_path / "wrong")
    result = run("restore", path, "--key", tmp_path / "wrong")
    assert_error(result, r"out/a\.txt: resembles no text of this key: the key is another one")
    trusted = run("restore", path, "--key", tmp_path / "wrong", "--trust-key")
    assert trusted.stdout == "Dora lived in the town of Bob.\n"
    result = run("restore", path.parent, "--key", tmp_path / "wrong", "-o", tmp_path / "back")
    assert result.exit_code == 1
    assert "left out" in result.stderr
    assert not files_in(tmp_path / "back")
    assert_error(run("restore", path, "--key", path), "not a redaction key")
    assert_error(run("restore", path, "--key", tmp_path / "none"), "none: no such file")


def test_a_key_that_was_changed_or_can_be_read(redacted, tmp_path):
    path, key = redacted
    values = json.loads(key.read_text())
    values["documents"][0]["placed"][0][1] = "Eva"
    changed = tmp_path / "changed"
    changed.write_text(json.dumps(values))
    changed.chmod(0o644)
    result = run("restore", path, "--key", changed)
    assert result.exit_code == 1
    assert "other users can read this key; run: chmod 600" in result.stderr
    assert "does not become its original: the key was changed" in result.stderr
    assert "Eva" not in result.output


def test_documents_become_texts(tmp_path):
    pytest.importorskip("docx")
    from documents import save_docx

    (tmp_path / "in").mkdir()
    save_docx(tmp_path / "in" / "a.docx", "Ada met Bob.")
    (tmp_path / "in" / "a.docx.txt").write_text("Carla")
    (tmp_path / "in" / "b.pdf").write_text("Dora")
    key, out = tmp_path / "key", tmp_path / "out"
    result = run("redact", tmp_path / "in", "-o", out, "--key", key)
    assert result.exit_code == 1
    assert "b.pdf: is not a PDF file" in result.stderr
    assert "a.docx.txt: its result would have the name of that of" in result.stderr
    assert files_in(out) == {
        "a.docx.txt": b"[PER_1] met [LOC_1].\n\n[LOC_1]\n\n[LOC_2]\n\n[PER_2]\n"
    }
    assert run("restore", out, "--key", key, "-o", tmp_path / "back").exit_code == 0
    assert files_in(tmp_path / "back")["a.docx.txt"].startswith(b"Ada met Bob.\n\nBob\n\nGhent\n")


def test_the_format_of_tag(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Ada met Bob.\n[LOC_2] ADA saw Carla in Paris.\n")
    result = run("tag", tmp_path / "a.txt", "--format", "redacted")
    assert result.stdout == "[PER_1] met [LOC_1].\n[LOC_2] [PER_1] saw [PER_2] in [LOC_3].\n"


def test_a_killed_run_leaves_nothing_and_resumes(tiny, tmp_path):
    contents = {f"{i:02}.txt": f"Ada number {i} met Bob in Ghent .\n".encode() for i in range(60)}
    write_files(tmp_path / "in", contents)
    key, out = tmp_path / "key", tmp_path / "out"
    environment = os.environ | {"NER_EDGE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "ner_edge", "redact", tmp_path / "in", "-o", out]
    command += ["--key", key, "-m", tiny.gguf, "--threads", "1"]
    randomness = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=1.5 + randomness.random())
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if not key.exists():
            assert not [name for name in files_in(out) if not name.startswith(".")]
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert {document.name for document in read_key(key).documents} == set(contents)
    command = [*command[:3], "restore", out, "--key", key, "-o", tmp_path / "back"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    assert files_in(tmp_path / "back") == contents
    (record,) = (tmp_path / "cache" / "found").iterdir()
    lines = record.read_text().splitlines()
    assert len({json.loads(line)["content"] for line in lines}) == len(contents) == len(lines)
    assert "Ada" not in record.read_text()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(b"Ada")
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "a.txt"))
    assert run("redact", tmp_path / "a.txt").stdout == "[PER_1]"
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))

    def fail(journal, record):
        raise NerEdgeError("the disk is full")

    monkeypatch.setattr("ner_edge.files.journal.Journal.append", fail)
    result = run("redact", tmp_path / "a.txt")
    assert result.stdout == "[PER_1]"
    assert result.stderr.startswith("warning: the disk is full; a killed run would start over\n")


def test_files_of_the_key_that_are_missing_are_told(redacted, tmp_path):
    path, key = redacted
    path.rename(path.with_name("renamed.txt"))
    result = run("restore", path.parent, "--key", key, "-o", tmp_path / "back")
    assert files_in(tmp_path / "back")["renamed.txt"].startswith(b"Ada Lovelace lived")
    assert "1 file of the key missing here, such as a.txt" in result.stderr
