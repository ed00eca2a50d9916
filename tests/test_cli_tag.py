"""`ner-edge tag`: any text comes back unchanged but for its brackets."""

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Thread

import pytest
from command_line import assert_error, run, run_ok
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stub_tagger import stub_tagger as stub_tagger

from ner_edge.data.formats.table import FORMATS
from ner_edge.segment import segment
from ner_edge.spans import spans_from_tags

LABELS = ("PER", "LOC")
NASTY = [
    "Hussain lives in New York , with his sister .",
    "👩‍👩‍👧 flew to 🇩🇪 and naïve Zoe\u0301 to 東京都",
    "שלום עולם and مرحبا بالعالم",
    "a [ | ] b [Zoe | PER] ] [ | | LOC] [[ ]]",
    "<|im_end|> <|im_start|>user <s> </s> {input}",
    "a NUL \0 and b\0c",
    "tab\there  two  spaces \t",
    "separators \x85 \u2028 \u2029 \x0b \x0c \x1c and\rcarriage returns",
    "a byte order mark \ufeff inside, \u200b nothing, \u202e backwards \u2066",
    "\uffff\U0010ffff\ue000 no characters",
    'quotes " and back\\slashes \\n \\x00',
    "",
    "  \t ",
    "...",
    "last",
]


def is_bracketing(output: str, text: str) -> bool:
    """Whether `output` is the text with entities in brackets and otherwise unchanged."""
    todo, seen = [(0, 0, False)], set()
    while todo:
        state = todo.pop()
        if state in seen:
            continue
        seen.add(state)
        out, read, inside = state
        if (out, read, inside) == (len(output), len(text), False):
            return True
        if output[out : out + 1] == text[read : read + 1] != "":
            todo.append((out + 1, read + 1, inside))
        if not inside and output.startswith("[", out):
            todo.append((out + 1, read, True))
        for label in LABELS if inside else ():
            if output.startswith(closing := f" | {label}]", out):
                todo.append((out + len(closing), read, False))
    return False


def test_the_checker_itself():
    assert is_bracketing("[a | PER] b", "a b")
    assert is_bracketing("[[ | LOC] | ]", "[ | ]")
    assert not is_bracketing("[a | ORG] b", "a b")
    assert not is_bracketing("[a b", "a b")
    assert not is_bracketing("[a | PER]  b", "a b")


@pytest.fixture
def tag(tiny):
    """Run `ner-edge tag` with the tiny model."""
    return lambda *arguments, stdin=None: run(
        "tag", "-m", tiny.gguf, "--threads", 1, *arguments, stdin=stdin
    )


@pytest.fixture
def nasty_file(tmp_path):
    path = tmp_path / "nasty.txt"
    path.write_bytes("\n".join(NASTY).encode())
    return path


@pytest.mark.parametrize("decoder", ["copy", "grammar"])
def test_output_is_the_text_in_brackets(tag, nasty_file, decoder):
    result = tag(nasty_file, "--decoder", decoder)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.removesuffix("\n").split("\n")
    assert len(lines) == len(NASTY)
    for line, text in zip(lines, NASTY, strict=True):
        assert is_bracketing(line, text), (line, text)
    assert sum(line != text for line, text in zip(lines, NASTY, strict=True)) > 5


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))))
def test_output_is_any_text_in_brackets(tag, texts):
    stdin = "".join(text + "\n" for text in texts)
    result = tag(stdin=stdin.encode())
    lines = result.stdout.split("\n")
    assert lines.pop() == ""
    for line, text in zip(lines, texts, strict=True):
        assert is_bracketing(line, text.removesuffix("\r").removeprefix("\ufeff")), (line, text)


@pytest.mark.parametrize("decoder", ["copy", "grammar"])
def test_jsonl_is_one_object_per_line(tag, nasty_file, decoder):
    result = tag(nasty_file, "--format", "jsonl", "--decoder", decoder)
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.removesuffix("\n").split("\n")]
    assert [record["text"] for record in records] == NASTY
    entities = [entity for record in records for entity in record["entities"]]
    assert len(entities) > 5
    for record in records:
        assert record.keys() == {"text", "entities"}
        end = 0
        for entity in record["entities"]:
            assert entity.keys() == {"start", "end", "text", "label", "score"}
            assert end <= entity["start"] < entity["end"]
            end = entity["end"]
            assert record["text"][entity["start"] : end] == entity["text"]
            assert entity["label"] in LABELS
            assert 0 <= entity["score"] <= 1


def test_formats_agree(tag, nasty_file):
    records = tag(nasty_file, "--format", "jsonl").stdout.removesuffix("\n").split("\n")
    brackets = tag(nasty_file).stdout.removesuffix("\n").split("\n")
    conll = tag(nasty_file, "--format", "conll").stdout
    blocks = [block.split("\n") for block in conll.strip("\n").split("\n\n")]
    rows = [[row.split(" ") for row in block if row] for block in blocks]
    words = [[word.text for word in words] for text in NASTY for words in segment(text)]
    assert [[word for word, _ in block] for block in rows] == words
    tags = [[tag for _, tag in block] for block in rows]
    assert all(tag == "O" or tag[:2] in ("B-", "I-") for block in tags for tag in block)
    labels = [span.label for block in tags for span in spans_from_tags(block)]
    found = [json.loads(record) for record in records]
    assert labels == [entity["label"] for record in found for entity in record["entities"]]
    for record, line in zip(found, brackets, strict=True):
        text = record["text"]
        for entity in reversed(record["entities"]):
            inside = f"[{entity['text']} | {entity['label']}]"
            text = text[: entity["start"]] + inside + text[entity["end"] :]
        assert line == text


def test_every_row_of_the_table_of_formats_is_a_choice(tag):
    result = tag("--format", "x")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in FORMATS)


@pytest.mark.parametrize("kind", [name for name, format in FORMATS.items() if format.write])
def test_empty_file_gives_no_text(tag, tmp_path, kind):
    (tmp_path / "empty").touch()
    result = tag(tmp_path / "empty", "--format", kind)
    frame = {"gliner": "[]\n", "label-studio": "[]\n", "csv": '"text","entities"\n'}
    frame["tsv"] = "number\tstart\tend\tlabel\tscore\ttext\n"
    if kind != "html":
        assert (result.exit_code, result.output) == (0, frame.get(kind, ""))
    assert "<div" not in result.output
    assert tag("--format", kind, stdin=b"").output == result.output


def test_blank_lines_stay(tag):
    result = tag(stdin=b"\n  \n\t\n\n")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "\n  \n\t\n\n", "")
    assert len(tag("--format", "jsonl", stdin=b"\n  \n\t\n\n").stdout.splitlines()) == 4


def test_line_ends_of_windows_are_line_ends(tag):
    unix = tag("--format", "jsonl", stdin=b"Zoe in Rome\nAda\n").stdout
    windows = tag("--format", "jsonl", stdin=b"\xef\xbb\xbfZoe in Rome\r\nAda\r\n").stdout
    assert windows == unix
    assert "\r" not in tag(stdin=b"Zoe\r\n\r\nRome\r\n").stdout


def test_long_line_without_spaces(tag):
    text = "abcDEF123." * 2_000
    result = tag(stdin=text.encode())
    assert result.exit_code == 0
    assert is_bracketing(result.stdout.removesuffix("\n"), text)


def test_sentence_longer_than_the_context_is_split_and_that_is_said_once(tag):
    text = " ".join(["abcDEF123" * 4] * 200)
    result = tag(stdin=text.encode())
    assert result.exit_code == 0
    assert is_bracketing(result.stdout.removesuffix("\n"), text)
    assert result.stderr == "warning: a sentence is too long for the model's context: it is split\n"


def test_broken_utf8_warns_once_for_each_file(tag, tmp_path):
    (tmp_path / "a").write_bytes(b"fine\nZo\xeb in Rome\n\xff\n")
    (tmp_path / "b").write_bytes("a real \ufffd is fine\n".encode())
    result = tag(tmp_path / "a", tmp_path / "b", "--format", "jsonl")
    texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert texts == ["fine", "Zo\ufffd in Rome", "\ufffd", "a real \ufffd is fine"]
    assert result.exit_code == 0
    warning = f"{tmp_path}/a:2: not UTF-8 (byte 0xeb); invalid bytes are read as \ufffd"
    assert result.stderr == f"warning: {warning}\n"


def test_files_and_stdin_in_order(tag, tmp_path):
    (tmp_path / "a").write_text("one\ntwo")
    (tmp_path / "b").write_text("four\n")
    result = tag(tmp_path / "a", "-", tmp_path / "b", "--format", "jsonl", stdin=b"three\n")
    texts = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert texts == ["one", "two", "three", "four"]


def test_many_sentences_keep_their_order(tag):
    texts = [f"Zoe {'met Ada ' * (i % 7)}on day {i} ." for i in range(30)]
    result = tag("--format", "jsonl", stdin="\n".join(texts).encode())
    assert [json.loads(line)["text"] for line in result.stdout.splitlines()] == texts


@pytest.mark.parametrize("before", [[], ["-"]], ids=["alone", "behind stdin"])
def test_unreadable_files_are_refused_before_the_model_loads(tag, tmp_path, monkeypatch, before):
    monkeypatch.setattr("ner_edge.cli.app.sys.stdin", None)
    monkeypatch.setattr("ner_edge.tagger.Tagger.load", lambda *_, **__: pytest.fail("loaded"))
    assert_error(tag(*before, tmp_path / "none.txt"), r"none\.txt: no such file")
    assert_error(tag(*before, tmp_path), "is a folder, not a file")
    assert_error(tag(*before, "x" * 5000), "x: .*[Nn]ame too long")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.gguf", "no such file; give the path of a .gguf file made by `ner-edge export`"),
        ("conll2003", "no such file; .* or conll2003-135m"),
        (".", "is a folder; give the path"),
        ("text.gguf", "not a GGUF file"),
        ("empty.gguf", "not a GGUF file"),
        ("header.gguf", "damaged or incomplete GGUF file"),
        ("half.gguf", "damaged or incomplete GGUF file"),
        ("plain.gguf", "contains no ner-edge task; make the file with `ner-edge export`"),
        ("x" * 5000, "no such file"),
    ],
)
def test_models_that_are_none(name, message, tiny, tmp_path, monkeypatch):
    from exporting import export_model

    monkeypatch.chdir(tmp_path)
    whole = tiny.gguf.read_bytes()
    (tmp_path / "text.gguf").write_text("this is no model\n" * 100)
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "header.gguf").write_bytes(whole[:100])
    (tmp_path / "half.gguf").write_bytes(whole[: len(whole) // 2])
    export_model(tiny.folder, None, tmp_path, ["f16"], name="plain")
    (tmp_path / "plain-f16.gguf").rename("plain.gguf")
    assert_error(run("tag", "-m", name, stdin=b"Zoe\n"), message)


def test_unknown_quantization_type_of_the_default_model():
    result = run("tag", "-m", "conll2003-135m:q99", stdin=b"Zoe\n")
    assert_error(result, "unknown quantization type 'q99'", exit_code=2, lines=None)
    assert "q4_k_m" in result.stderr


def test_wrong_options_are_usage_errors(tiny):
    for wrong in (["--decoder", "x"], ["--format", "x"], ["--threads", "0"], ["--no-such"]):
        assert run("tag", "-m", tiny.gguf, *wrong, stdin=b"").exit_code == 2


def test_help_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from ner_edge.cli.app import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = 'torch transformers peft llama_cpp gguf numpy nupunkt yaml seqeval nervaluate'\n"
        "print([name for name in heavy.split() if name in sys.modules], file=sys.stderr)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "[]\n")
    for command in ("tag", "eval", "export", "train"):
        assert command in result.stdout


def test_version_and_no_arguments():
    assert run_ok("--version").startswith("ner-edge 0.")
    assert "Usage" in run().output


PROGRAM = [sys.executable, "-c", "from ner_edge.cli.app import main; main()"]


def test_results_go_to_stdout_though_stderr_is_a_terminal(tiny, tmp_path):
    """The progress bar must not draw the results on the terminal."""
    (tmp_path / "in").write_text("Zoe in Rome\n" * 3)
    terminal, stderr = pty.openpty()
    command = [*PROGRAM, "tag", "-m", tiny.gguf, "--threads", "1", tmp_path / "in"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)
    os.close(stderr)
    shown = b""
    try:
        while piece := os.read(terminal, 4096):
            shown += piece
    except OSError:  # on Linux, when the other end is closed
        pass
    os.close(terminal)
    lines = process.communicate()[0].decode().split("\n")
    assert process.returncode == 0
    assert len(lines) == 4
    assert all(is_bracketing(line, "Zoe in Rome") for line in lines[:3])
    assert b"tagging" in shown
    assert b"Zoe" not in shown


def test_reader_that_has_had_enough(tiny, tmp_path):
    (tmp_path / "in").write_text("Zoe in Rome\n" * 3)
    command = [*PROGRAM, "tag", "-m", tiny.gguf, "--threads", "1", tmp_path / "in"]
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_full_disk(tiny, tmp_path):
    (tmp_path / "in").write_text("Zoe in Rome\n" * 3)
    command = [*PROGRAM, "tag", "-m", tiny.gguf, "--threads", "1", tmp_path / "in"]
    with open("/dev/full", "wb") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1
    assert result.stderr == "error: No space left on device\n"


def test_an_endless_run_of_characters_is_not_read_by_the_model(tiny):
    text = "x" * 1_000_000
    assert run_ok("tag", "-m", tiny.gguf, stdin=text + "\n") == text + "\n"


def test_min_score(tiny, tmp_path):
    (tmp_path / "text").write_text("Ada lives in New York .\nZoe | met [ Bob ]\n")
    arguments = ("tag", tmp_path / "text", "-m", tiny.gguf, "--format", "jsonl")
    everything = [json.loads(line) for line in run_ok(*arguments).splitlines()]
    scores = sorted(e["score"] for line in everything for e in line["entities"])
    limit = scores[len(scores) // 2]
    some = [json.loads(line) for line in run_ok(*arguments, "--min-score", limit).splitlines()]
    kept = [e["score"] for line in some for e in line["entities"]]
    assert 0 < len(kept) < len(scores)
    assert min(kept) >= limit
    assert run("tag", "-m", tiny.gguf, "--min-score", "1.5", stdin="x").exit_code == 2


def test_interrupt_keeps_what_is_finished(tiny, tmp_path):
    command = [sys.executable, "-m", "ner_edge", "tag", "-", "-m", str(tiny.gguf), "--threads", "1"]
    lines = [f"Ada number {i} lives in New York ." for i in range(5000)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests may run as a background job of a shell, which ignores the interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        feeder = Thread(target=feed, args=(process.stdin, lines))
        feeder.start()
        first = process.stdout.readline()  # tagging has begun
        process.send_signal(signal.SIGINT)
        rest, errors = process.stdout.read(), process.stderr.read()
        feeder.join()
    assert process.returncode == 130
    assert errors == "interrupted\n"
    printed = [first.rstrip("\n"), *rest.splitlines()]
    assert 1 <= len(printed) < len(lines)
    assert all(map(is_bracketing, printed, lines))


def feed(stream, lines):
    with suppress(OSError):  # the reader stops early
        stream.write("\n".join(lines))
        stream.close()


def test_tasks_of_label_studio_become_predictions(tag, tmp_path):
    path = tmp_path / "tasks.json"
    old = {"result": [{"type": "labels", "value": {"start": 0, "end": 1, "labels": ["X"]}}]}
    texts = ["Zoe lives in New York .", "Ada met Bob ."]
    tasks = [
        {"id": 7, "data": {"text": texts[0], "source": "mail"}},
        {"id": 8, "data": {"text": texts[1]}, "annotations": [old]},
    ]
    path.write_text(json.dumps(tasks))
    written = json.loads(tag(path, "--from", "label-studio", "--format", "label-studio").stdout)
    assert [(task["id"], task["data"]) for task in written] == [(t["id"], t["data"]) for t in tasks]
    as_lines = tag("--format", "jsonl", stdin="\n".join(texts).encode()).stdout.splitlines()
    for task, line in zip(written, as_lines, strict=True):
        assert "annotations" not in task
        regions = [region["value"] for region in task["predictions"][0]["result"]]
        entities = json.loads(line)["entities"]
        assert [(r["start"], r["end"], r["labels"]) for r in regions] == [
            (e["start"], e["end"], [e["label"]]) for e in entities
        ]


@pytest.mark.parametrize("tags", [False, True])
def test_words_of_columns_are_kept(tag, tmp_path, tags):
    words = [["-DOCSTART-"], ["Zoe's", "e-mail:", "a@b.c", ".", "So", "?"], ["#", "Rome"], ["#"]]
    path = tmp_path / "words.conll"
    path.write_text(
        "\n\n".join("\n".join(word + " NN I-NP B-PER" * tags for word in of) for of in words)
    )
    rows = tag(path, "--format", "conll").stdout.strip("\n").split("\n\n")
    assert [[row.split(" ")[0] for row in of.split("\n")] for of in rows] == words
    lines = tag(path).stdout.splitlines()
    for line, text in zip(lines, [" ".join(of) for of in words[1:]], strict=True):
        assert is_bracketing(line, text)


def test_lines_of_json_are_texts(tag, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "Zoe in Rome", "id": 7}\n{"text": "", "id": 8}\n')
    found = [json.loads(line) for line in tag(path, "--format", "jsonl").stdout.splitlines()]
    assert [(one["text"], one["id"]) for one in found] == [("Zoe in Rome", 7), ("", 8)]
    assert tag(path, "--from", "text").stdout.count("{") == 2


def test_lines_of_more_than_a_word_are_no_columns(tag, tmp_path):
    (tmp_path / "text.txt").write_text("Zoe\nin\nNew York\n")
    message = "text.txt:3: has 2 columns; most lines have 1: words with spaces need tabs"
    assert_error(tag(tmp_path / "text.txt", "--from", "conll"), message)


def test_out_is_written_whole_and_its_suffix_is_the_format(tag, tmp_path):
    (tmp_path / "in.txt").write_text("Zoe in Rome\nAda\n")
    for name, kind in (("x.jsonl", "jsonl"), ("x.html", "html"), ("x.csv", "csv")):
        result = tag(tmp_path / "in.txt", "--out", tmp_path / name)
        assert (result.exit_code, result.stdout) == (0, "")
        expected = tag(tmp_path / "in.txt", "--format", kind).stdout
        assert (tmp_path / name).read_text() == expected
    assert_error(tag(tmp_path / "in.txt", "-o", tmp_path / "x.txt"), "Name it with --format", 2)
    options = ("--out", tmp_path / "in.txt", "--format", "jsonl")
    assert_error(tag(tmp_path / "in.txt", *options), "would replace", 2)
    assert_error(tag("--format", "brat", stdin=b"x"), "text: name a folder with --out", 2)


def test_only_text_comes_from_standard_input(tag):
    assert_error(tag("--from", "csv", stdin=b"text\nAda\n"), "reads files, not standard input", 2)


def test_tables_are_read_before_the_model_loads(tag, tmp_path, monkeypatch):
    monkeypatch.setattr("ner_edge.tagger.Tagger.load", lambda *_, **__: pytest.fail("loaded"))
    (tmp_path / "x.csv").write_text("review\nAda\n")
    assert_error(tag(tmp_path / "x.csv"), "x.csv:1: has no column named text; its columns are rev")
    assert_error(tag(tmp_path / "no.csv"), "no.csv: no such file")


def test_a_file_is_a_document_and_a_line_of_standard_input_is_one(tmp_path, stub_tagger):
    path = tmp_path / "a.txt"
    path.write_text("Ada\nBob\n")
    table = tmp_path / "a.csv"
    table.write_text("text\nAda\n")
    pipe = stub_tagger.pipe
    documents = []

    def recording(texts, document):
        texts = list(texts)
        documents.append((texts[0], document))
        return pipe(texts)

    stub_tagger.pipe = recording
    assert run_ok("tag", path, table, path, "--format", "brackets").count("[Ada | PER]") == 3
    assert run_ok("tag", stdin=b"Kim\nAda\n").count("| PER]") == 1
    run_ok("tag", path, "--out", tmp_path / "b.jsonl")
    (tmp_path / "out").mkdir()
    run_ok("tag", path, "--out", tmp_path / "out")
    lines = ("Ada", True)
    assert documents == [lines, ("Ada", False), lines, ("Kim", False), lines, lines]
