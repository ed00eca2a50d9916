"""The texts of Word, PDF, HTML and mail files, and files that pretend to be such."""

import subprocess
from pathlib import Path

import pytest

pytest.importorskip("docx")

from documents import save_bomb, save_docx, save_docx_with_entity, save_mail, save_pdf

from ner_edge.documents import extract as module
from ner_edge.documents.extract import READERS, check_readers, extract
from ner_edge.errors import DataError, UsageError


def test_word(tmp_path):
    path = save_docx(tmp_path / "a.docx", "Ada\tlives\nin London.", "", "She left.")
    expected = "Ada\tlives\nin London.\n\nShe left.\n\nBob\n\nGhent\n\nFor Rosa\n"
    assert extract(path) == expected


def test_word_with_entities_is_refused_since_their_text_would_be_lost(tmp_path):
    with pytest.raises(DataError, match="document type declaration"):
        extract(save_docx_with_entity(tmp_path / "a.docx"))


def test_pdf(tmp_path):
    assert extract(save_pdf(tmp_path / "a.pdf", "Ada in London")) == "Ada in London\n"


def test_html(tmp_path):
    path = tmp_path / "a.HTML"
    path.write_bytes(
        b"<!doctype html><meta charset=iso-8859-1><title>Zo\xeb</title><style>p {}</style>"
        b"<p>Ada <b>Love</b>lace\n &amp;  Bob<!-- no --><br>left.<script>x</script>"
        b"<ul><li>one<li>two</ul><pre>a\n  b</pre>"
    )
    expected = "Zoë\n\nAda Lovelace & Bob\nleft.\n\none\n\ntwo\n\na\n  b\n"
    assert extract(path) == expected


def test_html_nested_deeply(tmp_path):
    (tmp_path / "a.html").write_text("<div>" * 20_000 + "Ada")
    assert extract(tmp_path / "a.html") == "Ada\n"


def test_mail(tmp_path):
    path = save_mail(tmp_path / "a.eml", "Ada wrote.\nBob, too.\n")
    assert extract(path) == (
        "From: Ada Lovelace <ada@example.org>\n\nSubject: Zoë\n\nAda wrote.\nBob, too.\n\n"
        "Attachment: rosa.png\n"
    )
    path = save_mail(tmp_path / "b.eml", "", html="<p>Ada<p>Bob")
    assert "\n\nAda\n\nBob\n\n" in extract(path)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("content", [b"", b"\0\1\2" * 100, b"PK\3\4 no", b"%PDF-1.4\nno"])
def test_files_that_are_something_else(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    if suffix in (".htm", ".html"):  # any bytes are HTML
        extract(path)
        return
    with pytest.raises(DataError, match=f"a{suffix}: is not a"):
        extract(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.pdf: no such file"):
        extract(tmp_path / "a.pdf")


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = save_bomb(tmp_path / "a.docx", 400)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(DataError, match="unpacks to more than 300 MB"):
        extract(path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("while True: pass", "was not extracted within 1 seconds"),
        ("bytes(10**10)", "its reader fails on it"),
        ("import os; os.abort()", "its reader fails on it"),
    ],
)
def test_a_reader_that_hangs_or_crashes(tmp_path, monkeypatch, code, message):
    run = subprocess.run

    def start(command, **options):
        name = "ner_edge.documents.extract"
        program = f"import {name} as m\nm._limit_memory()\n{code}"
        return run([command[0], "-c", program], **options)

    monkeypatch.setattr("ner_edge.documents.extract.subprocess.run", start)
    monkeypatch.setattr(module, "_SECONDS", 1 if "while" in code else 60)
    (tmp_path / "a.pdf").touch()
    with pytest.raises(DataError, match=message):
        extract(tmp_path / "a.pdf")


def test_the_extra_is_named_before_the_work_begins(monkeypatch):
    monkeypatch.setattr("ner_edge.documents.extract.importlib.util.find_spec", lambda name: None)
    check_readers([Path("a.txt")])
    with pytest.raises(UsageError, match=r"docx is missing; .*ner-edge\[documents\]"):
        check_readers([Path("a.txt"), Path("a.docx")])
