"""`ner-edge eval`: the tables, the JSON, and what it refuses."""

import json
import re
import tempfile
from pathlib import Path

import pytest
from command_line import assert_error, run, run_ok

CONLL = """-DOCSTART- -X- O O

Zoe NNP B-NP I-PER
Smith NNP I-NP I-PER
lives VBZ B-VP O
in IN B-PP O
Rome NNP B-NP I-LOC
. . O O

Nothing NN B-NP O

[ ( O O
Paris NNP B-NP I-LOC
| : O O
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("NER_EDGE_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "gold.conll"
    path.write_text(CONLL)
    return path


@pytest.fixture
def other(tiny, tmp_path):
    """The same model under another name."""
    path = tmp_path / "other.gguf"
    path.symlink_to(tiny.gguf)
    return path


def test_tables_on_a_terminal(tiny, data):
    stdout = run_ok("eval", data, "-m", tiny.gguf, "--threads", 1)
    for shown in ("seqeval", "nervaluate", "PER", "LOC", "micro avg", "tiny-f16", "Comparison"):
        assert shown in stdout
    assert "3 sentences, 10 tokens (4 and 11 with -DOCSTART- lines), 3 entities" in stdout


def test_markdown(tiny, data):
    stdout = run_ok("eval", data, "-m", tiny.gguf, "--markdown", "--limit", 2, "--threads", 1)
    assert "| Entity | Precision | Recall | F1 | Support |\n| --- | ---:" in stdout
    assert "2 sentences" in stdout


@pytest.mark.parametrize("decoder", ["copy", "grammar"])
def test_json_on_stdout_is_nothing_but_json(tiny, data, decoder):
    arguments = ["-m", tiny.gguf, "--json", "-", "--decoder", decoder, "--threads", 1]
    report = json.loads(run_ok("eval", data, *arguments))
    (model,) = report["models"]
    assert 0 <= model["f1"] <= 100
    assert model["decoder"] == decoder
    assert model["misaligned"] == 0
    assert model["size_bytes"] == tiny.gguf.stat().st_size
    assert (report["sentences"], report["entities"], report["baseline"]) == (3, 3, None)


def test_two_models_and_a_baseline(tiny, other, data, tmp_path):
    models = ["-m", tiny.gguf, "-m", other, "--threads", 1]
    stdout = run_ok("eval", data, *models, "--baseline", "other", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [model["name"] for model in report["models"]] == ["tiny-f16", "other"]
    assert report["baseline"] == "other"
    assert [model["delta_f1"] for model in report["models"]] == [0, 0]
    assert [model["flips"] for model in report["models"]] == [0, 0]
    assert "baseline" in stdout


def test_a_gguf_needs_no_suffix(tiny, data, tmp_path):
    plain = tmp_path / "plain"
    plain.symlink_to(tiny.gguf)
    models = ["-m", tiny.gguf, "-m", plain, "--threads", 1, "--no-speed"]
    first, second = json.loads(run_ok("eval", data, *models, "--json", "-"))["models"]
    assert second["bits_per_weight"] == first["bits_per_weight"]
    assert (first["agreement"], second["agreement"]["mean_kl"]) == (None, 0)


def test_cached_run_says_so(tiny, data):
    first = run("eval", data, "-m", tiny.gguf, "--json", "-", "--threads", 1)
    again = run("eval", data, "-m", tiny.gguf, "--json", "-", "--threads", 1)
    fresh = run("eval", data, "-m", tiny.gguf, "--json", "-", "--threads", 1, "--no-cache")
    assert (first.stderr, fresh.stderr) == ("", "")
    assert "3 of 3 predictions and their timing are from an earlier run; --no-cache" in again.stderr
    f1 = [json.loads(result.stdout)["models"][0]["f1"] for result in (first, again, fresh)]
    assert f1[0] == f1[1] == f1[2]


@pytest.mark.parametrize(
    ("arguments", "message", "exit_code"),
    [
        (["absent"], "absent: no such file", 1),
        (["."], r"\.: is a folder, not a file", 1),
        (["empty"], "empty: contains no sentences", 1),
        (["column"], "column:2: expected a word and its tag, found 'alone'", 1),
        (["tag"], "tag:1: 'X-PER' is not an IOB tag", 1),
        (["latin"], "latin:1: not UTF-8", 1),
        (
            ["gold.conll", "--baseline", "x"],
            "--baseline x: no such model; choose one of: tiny",
            2,
        ),
        (["nul"], "nul:2: the word contains a NUL", 1),
        (["gold.conll", "--json", "absent/r.json"], "absent: no such folder", 2),
        (["gold.conll", "--json", "."], r"--json \.: is a folder", 2),
        (["gold.conll", "--report", "closed/a"], "--report closed/a: closed: cannot be written", 2),
        (["gold.conll", "--report", "empty"], "--report empty: empty: is not a folder", 2),
        (["gold.conll", "--report", "empty/a/b"], "--report empty/a/b: empty: is not a folder", 2),
        (["gold.conll", "-m", "absent.gguf"], r"absent\.gguf: no such file", 1),
    ],
)
def test_mistakes_are_one_line_before_a_model_loads(
    arguments, message, exit_code, tiny, data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "column").write_text("Zoe I-PER\nalone\n")
    (tmp_path / "tag").write_text("Zoe X-PER\n")
    (tmp_path / "latin").write_bytes(b"Zo\xeb I-PER\n")
    (tmp_path / "nul").write_bytes(b"Zoe I-PER\nSmi\0th I-PER\n")
    monkeypatch.setattr(
        "ner_edge.runtime.tagger.GGUFTagger.load", lambda *_, **__: pytest.fail("loaded")
    )
    (tmp_path / "closed").mkdir()
    make = tempfile.mkdtemp

    def mkdtemp(*arguments, **settings):
        if settings.get("dir", arguments[-1]) == Path("closed"):  # permissions do not bind root
            raise PermissionError(13, "Permission denied")
        return make(*arguments, **settings)

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)
    assert_error(run("eval", *arguments, "-m", tiny.gguf), message, exit_code)


def test_labels_that_the_model_does_not_know_are_an_error(tiny, data):
    data.write_text(CONLL.replace("PER", "SHIP").replace("LOC", "PORT"))
    result = run("eval", data, "-m", tiny.gguf)
    message = r"tiny-f16: its task's labels are PER, LOC, none of those in .* \(PORT, SHIP\)"
    assert_error(result, message)
    assert not list(data.parent.rglob("*.jsonl")), "before it is tagged"


def test_missing_extra_is_one_line(tiny, data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nervaluate", None)
    result = run("eval", data, "-m", tiny.gguf)
    assert result.exit_code != 0
    assert_error(result, r"ner-edge\[eval\]", result.exit_code)


def test_the_columns_chosen_are_measured_and_said(tiny, data):
    data.write_text("1\tZoe\tB-PER\tO\n2\tRome\tI-PER\tB-LOC\n")
    arguments = ["eval", data, "-m", tiny.gguf, "--threads", 1, "--json", "-"]
    assert_error(run(*arguments), "choose with --columns 2,3 or --columns 2,4")
    for column, label in (("3", "PER"), ("4", "LOC")):
        result = run(*arguments, "--columns", f"2,{column}")
        assert f"note: {data}: separated by tabs; word column 2; tags column {column}, IOB2\n" in (
            result.stderr
        )
        (model,) = json.loads(result.stdout)["models"]
        support = {name: scores["support"] for name, scores in model["per_label"].items()}
        assert [name for name, count in support.items() if count] == [label]


def test_predictions_are_kept_for_words_not_for_files(tiny, data):
    data.write_text("Zoe\tRome\tB-PER\nin\tto\tO\n")
    arguments = ["eval", data, "-m", tiny.gguf, "--threads", 1, "--json", "-"]
    first, other = (
        json.loads(run_ok(*arguments, "--columns", f"{word},3"))["models"][0] for word in (1, 2)
    )
    (kept,) = (json.loads(run_ok(*arguments, "--columns", "2,3"))["models"],)
    assert kept[0]["f1"] == other["f1"]
    kept_files = list((data.parent / "cache" / "predictions").glob("*.jsonl"))
    assert len(kept_files) == 2, (first, other)


def test_sentences_left_out_are_counted_beside_those_measured(tiny, data):
    entities = [[0, 2, "PER"], [10, 13, "PER"]]
    data.write_text(json.dumps({"text": "Zoe left. Ada stays.", "entities": entities}))
    stdout = run_ok("eval", data, "-m", tiny.gguf, "--threads", 1, "--markdown")
    assert (
        "1 sentence, 3 tokens, 1 entity, 1 sentence left out (an entity does not start and end "
        "at word boundaries), 1 entity left out"
    ) in stdout


def test_a_model_whose_name_is_no_text(tiny, data, tmp_path):
    odd = tmp_path / "a\udcff.gguf"
    odd.symlink_to(tiny.gguf)
    command = ["eval", data, "-m", odd, "-m", tiny.gguf, "--threads", 1, "--no-speed"]
    run_ok(*command, "--json", tmp_path / "out.json", "--report", tmp_path / "report")
    names = [model["name"] for model in json.loads((tmp_path / "out.json").read_text())["models"]]
    assert names == ["a\ufffd", "tiny-f16"]


# Several data files


@pytest.fixture
def wiki(tmp_path):
    (tmp_path / "wiki").mkdir()
    path = tmp_path / "wiki" / "gold.conll"
    path.write_text("Oslo I-LOC\nis O\nold O\n\nKim I-PER\n\n")
    return path


def test_several_data_files_give_what_each_gives_and_a_table(tiny, other, data, wiki):
    models = ["-m", tiny.gguf, "-m", other, "--threads", 1, "--no-speed", "--markdown"]
    alone = [run_ok("eval", path, *models) for path in (data, wiki)]
    assert "F1 by data file" not in alone[0]
    both = run_ok("eval", data, wiki, *models)
    for path, text in zip((data, wiki), alone, strict=True):
        assert f"## {path}\n\n" in both, "the same name, so the whole path"
        assert without_speed(text) in without_speed(both)
    scores = [
        re.findall(r"^\| (?:tiny-f16|other) \|.* (\d+\.\d\d) \|(?: baseline| [+-])", text, re.M)
        for text in alone
    ]
    means = [f"{(float(a) + float(b)) / 2:.2f}" for a, b in zip(*scores, strict=True)]
    assert both.endswith(
        "**F1 by data file**\n\n"
        "| Data | tiny-f16 | other |\n| --- | ---: | ---: |\n"
        f"| {data} | {' | '.join(scores[0])} |\n"
        f"| {wiki} | {' | '.join(scores[1])} |\n"
        f"| mean | {' | '.join(means)} |\n\n"
    )


def without_speed(text):
    return re.sub(r" [\d.]+ \|$", "", text.rstrip(), flags=re.M)


def test_several_data_files_as_json_on_a_terminal_and_as_a_report(tiny, data, wiki, tmp_path):
    models = ["-m", tiny.gguf, "--threads", 1, "--no-speed"]
    (alone,) = json.loads(run_ok("eval", wiki, *models, "--json", "-"))["models"]
    arguments = ["--json", tmp_path / "r.json", "--report", tmp_path / "report"]
    shown = run_ok("eval", data, wiki, *models, *arguments)
    assert shown.index(str(data)) < shown.index(str(wiki)) < shown.index("F1 by data file")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [file["data"] for file in report["files"]] == [str(data), str(wiki)]
    f1 = [file["models"][0]["f1"] for file in report["files"]]
    assert f1[1] == alone["f1"]
    assert report["mean_f1"] == {"tiny-f16": pytest.approx(sum(f1) / 2)}
    folder = tmp_path / "report"
    assert json.loads((folder / "report.json").read_text()) == report
    assert "**F1 by data file**" in (folder / "report.md").read_text()
    page = (folder / "index.html").read_text()
    for name, path in (("1-gold.conll", data), ("2-gold.conll", wiki)):
        assert f'<a href="{name}/index.html">{path}</a>: ' in page
        assert "<h1>gold.conll</h1>" in (folder / name / "index.html").read_text()
    assert f"<td>{f1[1]:.2f}</td>" in page


def test_kept_predictions_serve_one_file_and_several(tiny, data, wiki):
    models = ["-m", tiny.gguf, "--threads", 1, "--no-speed"]
    run_ok("eval", wiki, *models)
    both = run("eval", data, wiki, *models)
    assert re.findall(r"(\d) of \d predictions", both.stderr) == ["2"]
    assert re.findall(r"(\d) of \d predictions", run("eval", data, wiki, *models).stderr) == [
        "3",
        "2",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gold.conll", "./gold.conll"], "gold.conll: is given twice; give it once"),
        (
            ["gold.conll", "wiki/gold.conll", "--columns", "x=1,2"],
            "--columns x=1,2: x is not one of the data files",
        ),
    ],
)
@pytest.mark.usefixtures("data", "wiki")
def test_mistakes_with_several_files_are_one_line(arguments, message, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_error(run("eval", *arguments, "-m", tiny.gguf), re.escape(message), exit_code=2)


def test_a_report_never_replaces_a_data_file(tiny, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "1-gold.conll").mkdir(parents=True)
    inside = tmp_path / "out" / "1-gold.conll" / "report.md"
    inside.write_text("Kim I-PER\n")
    result = run("eval", "gold.conll", inside, "-m", tiny.gguf, "--report", "out")
    assert_error(result, r"--report out: would replace .*report\.md, which is read", exit_code=2)
