"""Standard streams that are closed or full, other locales, and control characters."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_error, run, run_ok
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.files.atomic import write_text
from ner_edge.terminal.console import PrintableConsole
from ner_edge.terminal.streams import as_utf8, printable

PROGRAM = f'"{sys.executable}" -m ner_edge'
CLOSED = "error: standard output is closed, so the results would be lost\n"
FULL = "error: No space left on device\n"


@pytest.fixture
def folder(tiny, tmp_path):
    (tmp_path / "m.gguf").symlink_to(tiny.gguf)
    (tmp_path / "text").write_text("Zoe lives in Rome.\n")
    (tmp_path / "gold.conll").write_text("Zoe I-PER\nlives O\n")
    return tmp_path


def shell(folder, command, **environment):
    """Run a command line of a POSIX shell in `folder`."""
    known = os.environ | {"NER_EDGE_CACHE": str(folder / "cache")} | environment
    return subprocess.run(
        ["sh", "-c", command.replace("ner-edge", PROGRAM)],
        cwd=folder,
        env=known,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(
    ("command", "exit_code", "message"),
    [
        ("tag text -m m.gguf >&-", 2, CLOSED),
        ("eval gold.conll -m m.gguf >&-", 2, CLOSED),
        ("eval gold.conll -m m.gguf --no-speed --json report.json >&-", 0, ""),
        ("train gold.conll --dry-run >&-", 2, CLOSED),
        ("data check gold.conll >&-", 0, ""),
        (
            "tag -m m.gguf <&-",
            2,
            "error: standard input is closed: give text files, or pipe a text in\n",
        ),
        ("tag text -m m.gguf <&- >out", 0, ""),
        ("tag text -m m.gguf 2>&- >out", 0, ""),
        ("tag none -m m.gguf <&- >&- 2>&-", 2, ""),
        ("tag text -m m.gguf >/dev/full", 1, FULL),
        ("data check gold.conll >/dev/full", 1, FULL),
        ("--version >/dev/full", 1, FULL),
        ("--help >/dev/full", 1, FULL),
        ("tag none 2>/dev/full", 1, ""),
        (
            "tag text -m m.gguf >>text",
            2,
            "error: text: the results would be written to this input file\n",
        ),
        (
            "tag -m m.gguf <text >>text",
            2,
            "error: -: the results would be written to this input file\n",
        ),
    ],
)
def test_streams_that_are_missing_or_full(command, exit_code, message, folder):
    result = shell(folder, f"ner-edge {command}")
    assert (result.returncode, result.stdout, result.stderr) == (exit_code, "", message)


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_no_file_takes_the_place_of_a_closed_stream(folder):
    """Otherwise the output of native code would go into the model file."""
    program = (
        "from ner_edge.terminal.streams import open_streams; open_streams(); import os\n"
        "open('numbers', 'w').write(str(os.open('text', os.O_RDONLY)))"
    )
    subprocess.run(["sh", "-c", f'"{sys.executable}" -c "$0" <&- >&- 2>&-', program], cwd=folder)
    assert int((folder / "numbers").read_text()) > 2


@pytest.mark.skipif(os.name != "posix", reason="needs a locale that is not UTF-8")
def test_the_c_locale(folder):
    """Non-ASCII names, arguments and texts in a locale where Python expects ASCII."""
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0"}
    (folder / "ä ö").mkdir()
    (folder / "m.gguf").rename(folder / "ä ö" / "mödel.gguf")
    (folder / "ä ö" / "tëxt").write_text("Zoë lives in Zürich.\n", encoding="utf-8")
    tagged = shell(folder, "ner-edge tag 'ä ö/tëxt' -m 'ä ö/mödel.gguf'", **locale)
    assert (tagged.returncode, tagged.stderr) == (0, "")
    assert "Zürich" in tagged.stdout
    missing = shell(folder, "ner-edge tag 'ä ö/nöne'", **locale)
    assert missing.stderr == "error: ä ö/nöne: no such file\n"
    shown = shell(folder, "ner-edge info 'ä ö/mödel.gguf'", **locale)
    assert shown.stdout.startswith("file:          ä ö/mödel.gguf\n")
    grammar = shell(folder, "ner-edge grammar -m 'ä ö/mödel.gguf' Zoë", **locale)
    assert '"Zoë' in grammar.stdout


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_libraries_complain_to_nobody(folder):
    """As matplotlib does in a home folder that it cannot write."""
    (folder / "home").write_text("a file")
    command = "ner-edge eval gold.conll -m m.gguf --no-speed --report report >out"
    shown = shell(folder, command, HOME=str(folder / "home"))
    assert (shown.returncode, shown.stderr) == (0, "report: report/index.html\n")


# What a terminal would obey

ESCAPES = {"\x1b": "\\x1b", "\x07": "\\x07", "\x9b": "\\x9b", "\x7f": "\\x7f", "\r": "\\r"}
ESCAPES |= {"\u202e": "\\u202e", "\u2066": "\\u2066", "\ud800": "\\ud800"}


@pytest.mark.parametrize(("character", "escape"), ESCAPES.items())
def test_what_a_terminal_would_obey_is_shown(character, escape):
    assert printable(f"a{character}b\tc\n") == f"a{escape}b\tc\n"
    assert printable(f"a{character}b\tc\n", keep="") == f"a{escape}b\\tc\\n"


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_other_text_stays(text):
    assert printable(text) == text


@given(st.text())
def test_what_is_printable_stays(text):
    shown = printable(text, keep="")
    assert printable(shown, keep="") == shown
    shown.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs"])))
def test_a_name_that_was_not_decoded_is(text):
    assert printable(text.encode().decode("ascii", "surrogateescape")) == text


def test_bytes_of_a_name_that_are_no_text():
    assert printable("caf\udce9") == "caf\\xe9"
    assert printable("\udcc2\udc9b") == "\\x9b"
    assert as_utf8("Zo\udcc3\udcab") == "Zoë"


def test_rich_prints_nothing_foreign(capsys):
    PrintableConsole().print("a\x1b[31mb\u202e", markup=False)
    assert capsys.readouterr().out == "a\\x1b[31mb\\u202e\n"


EVIL = "evil\x1b]0;title\x07\u202e"


def assert_harmless(result):
    shown = result.stdout + result.stderr
    assert not any(character in shown for character in ESCAPES), repr(shown)
    assert "\\x1b]0;title" in shown


@pytest.fixture
def evil(tiny, tmp_path) -> Path:
    from exporting import export_model

    from ner_edge.task import Task

    task = Task(EVIL, {"PER": EVIL}, "Find entities.")
    (path,) = export_model(tiny.folder, None, tmp_path / "out", ["f16"], task=task, name=EVIL)
    return path


def test_no_command_prints_what_a_terminal_would_obey(evil, tmp_path):
    gold = tmp_path / f"{EVIL}.conll"
    gold.write_text("Zoe I-PER\nlives O\n")
    wrong = tmp_path / "wrong.conll"
    wrong.write_text(f"Zoe I-PER\nlives {EVIL}\n")
    assert_harmless(run("info", evil))
    assert_harmless(run("verify", evil))
    assert_harmless(run("data", "check", gold))
    assert_harmless(run("data", "check", wrong))
    for flags in ([], ["--markdown"]):
        assert_harmless(run("eval", gold, "-m", evil, "--threads", 1, "--no-cache", *flags))
        assert_harmless(run("compare", gold, "--gold", gold, *flags))
    assert_harmless(run("tag", "-m", f"{EVIL}.gguf", stdin="x"))
    assert_harmless(run("eval", wrong, "-m", evil))


def test_what_is_tagged_stays_as_it_is(tiny):
    text = "\x1b[31mZoe\x1b[0m lives \u202ein Rome\x07."
    for character in "[]":
        text = text.replace(character, "")
    tagged = run_ok("tag", "-m", tiny.gguf, "--format", "jsonl", stdin=text + "\n")
    assert json.loads(tagged)["text"] == text


def test_json_holds_half_a_character_as_an_escape(tmp_path):
    value = {"caf\udce9": "\ud800"}
    write_text(json.dumps(value, ensure_ascii=False), str(tmp_path / "a.json"))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == value


def test_a_message_is_one_line_whatever_name_is_in_it(tmp_path):
    name = tmp_path / "a\nb.gguf"
    assert_error(run("info", name), r"a\\nb\.gguf: no such file")
    assert_error(run("data", "check", name), r"a\\nb\.gguf: no such file")
