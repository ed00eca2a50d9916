"""`ner-edge data check`: every problem with its line, and an exit code that scripts can trust."""

import json

import pytest
from command_line import assert_error, run, run_ok

GOOD = """\
-DOCSTART- -X- O O

Zoe NNP B-NP I-PER
Smith NNP I-NP I-PER
lives VBZ B-VP O
in IN B-PP O
Rome NNP B-NP I-LOC

Nothing NN B-NP O

"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(text)
        return name

    return write


def checked(*arguments):
    """Return the exit code, the problems and warnings as shown, and the JSON."""
    result = run("data", "check", *arguments, "--json", "-")
    report = json.loads(result.stdout)

    def shown(kind):
        return [
            f"{finding['path']}:{finding['line'] or ''} {finding['message']}"
            for finding in report[kind]
        ]

    return result.exit_code, shown("problems"), shown("warnings"), report


def test_a_good_file(write):
    stdout = run_ok("data", "check", write("good.conll", GOOD))
    rows = [line.split() for line in stdout.splitlines()]
    for row in (
        ["Format", "IOB1"],
        ["Sentences", "2"],
        ["with", "-DOCSTART-", "3"],
        ["Tokens", "6"],
        ["with", "-DOCSTART-", "7"],
        ["Entities", "2"],
        ["LOC", "1"],
        ["PER", "1"],
        ["Longest", "sentence", "5", "words"],
        ["Repeated", "sentences", "0"],
    ):
        assert row in rows
    assert stdout.endswith("no problems, no warnings\n")


def test_json_holds_every_count(write):
    code, problems, warnings, report = checked(write("good.conll", GOOD + GOOD))
    assert (code, problems, warnings, report["overlaps"]) == (0, [], [], [])
    assert report["files"] == [
        {
            "path": "good.conll",
            "format": "IOB1",
            "layout": "separated by spaces; word column 1; tags column 4, IOB1",
            "sentences": 4,
            "docstart_lines": 2,
            "tokens": 12,
            "entities": 4,
            "labels": {"PER": 2, "LOC": 2},
            "longest": 5,
            "repeated": 2,
            "left_out": 0,
            "account": "",
        }
    ]


def test_all_illegal_lines_are_problems(write):
    text = "Zoe B-PER\nalone\nAda E-PER\nRome X-LOC\n\nKim S-PER\n"
    code, problems, _, _ = checked(write("bad.conll", text))
    assert code == 1
    assert [problem.split()[0] for problem in problems] == [f"bad.conll:{n}" for n in (1, 2, 3, 4)]
    stdout = run("data", "check", "bad.conll").stdout
    assert "problem: bad.conll:2: expected a word and its tag, found 'alone'" in stdout
    assert stdout.endswith("4 problems, no warnings\n")


def test_a_terminal_shows_the_first_fifty_and_json_all(write):
    name = write("bad.conll", "a PER\n" * 60)
    stdout = run("data", "check", name).stdout
    assert "bad.conll:50: " in stdout
    assert "bad.conll:51: " not in stdout
    # One of the 61 problems is that the file contains no entities.
    assert "problem: 11 more; --json lists all" in stdout
    assert len(checked(name)[1]) == 61


@pytest.mark.parametrize("text", ["", "\n\n", "-DOCSTART- O\n", "a O\n\nb O\n"])
def test_nothing_to_learn_is_a_problem(write, text):
    code, (problem,), _, _ = checked(write("none.conll", text))
    assert code == 1
    assert "contains no" in problem


def test_what_is_doubtful_is_a_warning(write):
    text = """\
Zoe NNP I-PER
Smith NNP I-PER

Zoe NNP O
Smith NNP I-PER

Ada NNP B-PER
a|b NNP O
| NNP I-per
x I-LOC
"""
    code, problems, warnings, _ = checked(write("odd.conll", text))
    assert (code, problems) == (0, [])
    assert warnings == [
        "odd.conll:7 'B-PER' begins an entity; most in this file begin with I-",
        "odd.conll:10 has 2 columns; most lines have 3",
        "odd.conll:4 same sentence as line 1, labelled differently",
        "odd.conll:7 an entity contains the word '|', so no model can find it",
        "odd.conll: labels that differ in case only: PER, per",
    ]


def test_leakage_is_a_problem_and_a_little_overlap_a_warning(write):
    many = "".join(f"Name{n} B-PER\n\n" for n in range(40))
    train = write("train.conll", many)
    few = write("few.conll", "".join(f"Other{n} B-PER\n\n" for n in range(39)) + "Name1 B-PER\n")
    test = write("test.conll", "Name1 B-PER\n\nNew B-PER\n")
    code, problems, warnings, report = checked(train, few)
    assert (code, problems) == (0, [])
    assert warnings == ["few.conll: 1 sentence, with 2.5 % of the entities, also in train.conll"]
    code, problems, _, report = checked(train, test)
    assert code == 1
    assert problems == ["test.conll: 1 sentence, with 50.0 % of the entities, also in train.conll"]
    assert [(o["first"], o["percent"]) for o in report["overlaps"]] == [
        ("train.conll", 50.0),
        ("test.conll", 2.5),
    ]


def test_labels_are_compared_between_files_and_with_the_task(write):
    a, b = write("a.conll", "Zoe B-PER\n"), write("b.conll", "Rome B-CITY\n\nAda B-PER\n")
    code, problems, warnings, _ = checked(a, b)
    assert (code, problems) == (0, [])
    assert warnings == ["a.conll: contains no CITY, which another file does"]
    code, problems, _, _ = checked(a, b, "--task", "conll2003")
    assert code == 1
    assert problems == ["b.conll: 1 entity of label CITY, which the task does not have"]


def test_sentences_are_measured_in_words_or_by_the_model(write, tiny):
    name = write(
        "long.conll", "Zoe B-PER\n" + "a O\n" * 120 + "\n" + "Zoe B-PER\n" + "b O\n" * 2000
    )
    _, _, warnings, _ = checked(name)
    assert warnings == [
        "long.conll:1 121 words; `tag` splits raw text after 120",
        "long.conll:123 2001 words; `tag` splits raw text after 120",
    ]
    _, problems, warnings, _ = checked(name, "-m", tiny.gguf)
    assert problems == []
    assert warnings == ["long.conll:123 too long for the model's context: it would be split"]


def test_json_lines_are_checked_too(write):
    text = '{"text": "Ver left. Zoe stays.", "entities": [[0, 2, "PER"], [10, 13, "PER"]]}\n'
    code, problems, warnings, report = checked(write("data.jsonl", text))
    assert (code, problems) == (0, [])
    assert warnings == ["data.jsonl:1 'Ve' does not start and end at word boundaries: left out"]
    assert report["files"][0]["left_out"] == 1


def test_mistakes_are_one_line(write):
    assert_error(run("data", "check", "absent"), "absent: no such file")
    assert_error(run("data", "check", "."), r"\.: is a folder, not a file")
    code, (problem, *_), _, _ = checked(write("nul", "Zo\0e B-PER\n"))
    assert (code, problem) == (1, "nul:1 the word contains a NUL")
    good = write("good.conll", GOOD)
    assert_error(run("data", "check", good, "--task", "none"), "no task 'none'", 2)
    assert_error(run("data", "check", good, "-m", "absent"), "absent: no such file")


def test_names_and_labels_are_no_markup(write):
    stdout = run_ok("data", "check", write("[b]x.conll", "Zoe B-[/red]\n"))
    assert "[b]x.conll" in stdout
    assert "[/red]" in stdout


def test_what_is_left_out_is_in_the_last_line(write):
    lines = """\
{"text": "Ver left. Zoe stays.", "entities": [[0, 2, "PER"], [10, 13, "PER"]]}
{"text": "Ada left.", "spans": [[0, 3, "PER"]], "answer": "reject"}
{"text": "Ada Brown left.", "entities": [[0, 3, "PER"], [0, 9, "PER"]]}
"""
    stdout = run_ok("data", "check", write("data.jsonl", lines))
    account = (
        "2 sentences left out (1: an entity does not start and end at word boundaries; "
        "1: was answered 'reject'), 3 entities left out\n"
    )
    assert stdout.endswith("no problems, 3 warnings, " + account)
    stdout = run_ok("data", "check", "data.jsonl", write("good.conll", GOOD))
    assert stdout.endswith(f", data.jsonl: {account}")
    assert checked("data.jsonl")[3]["files"][0]["account"] == account.strip()


NESTED = "1\tZoe\tB-PER\tO\n2\tRome\tI-PER\tB-LOC\n"


def test_how_a_file_was_read_is_said_and_columns_are_chosen(write):
    name = write("nested.tsv", NESTED)
    assert_error(run("data", "check", name), "--columns 2,3 or --columns 2,4")
    code, problems, warnings, report = checked(name, "--columns", "2,4")
    assert (code, problems, warnings) == (0, [], [])
    layout = "separated by tabs; word column 2; tags column 4, IOB2"
    assert report["files"][0]["layout"] == layout
    assert "Read as" in run_ok("data", "check", name, "--columns", "2,4")
    assert_error(run("data", "check", name, "--columns", "2"), "--columns 2: expected WORD,TAG", 2)
