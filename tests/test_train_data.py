"""`train` with several data files, weights, dev files, and the credits that licences ask for."""

import json
import os
import re
from pathlib import Path
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import assert_error, run, run_ok
from safetensors.torch import load_file

from ner_edge.data.formats.columns import Columns, columns_of
from ner_edge.errors import UsageError
from ner_edge.task import Task
from ner_edge.train import learning_rate
from ner_edge.train.best import BestAdapter
from ner_edge.train.data import DataFile, parse_data_file
from ner_edge.train.learning_rate import LearningRate
from ner_edge.train.run import run_training
from ner_edge.train.settings import TrainSettings, resolve_settings

TASK = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
NEWS = "".join(
    f"{name} I-PER\nlives O\nin O\n{place} I-LOC\n. O\n\n"
    for name in ("Zoe", "Ada", "Kim", "Eve")
    for place in ("Rome", "Oslo", "Bonn")
)
WIKI = "Bonn X I-LOC\nis X O\nold X O\n\n" * 4
CREDIT = "Hand et al. 2026, *Towns of the world* (CC BY 4.0)"
SETTINGS = ("rank=4", "alpha=8", "batch_size=4", "epochs=1", "dtype=float32")
FLAGS = [x for setting in SETTINGS for x in ("--set", setting)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "news.conll").write_text(NEWS)
    (tmp_path / "wiki.conll").write_text(WIKI)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "news.conll").write_text(NEWS[: NEWS.index("\n\n") + 2] * 3)
    (tmp_path / "dev" / "wiki.conll").write_text(WIKI[: WIKI.index("\n\n") + 2])
    (tmp_path / "tiny.toml").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def options(tiny: Any, folder: Path) -> list[Any]:
    return ["--base", tiny.folder, "--task", "tiny.toml", "--out", "out", *FLAGS]


def record(out: Path) -> Any:
    return json.loads((out / "training_settings.json").read_text())


# Which files


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.conll", "a.conll", 1),
        ("a.conll:3", "a.conll", 3),
        ("a.conll:0.25", "a.conll", 0.25),
        ("a.conll:.5", "a.conll", 0.5),
        ("a:3:1", "a:3", 1),
        ("a:b", "a:b", 1),
        ("a:1e3", "a:1e3", 1),
        ("a:-1", "a:-1", 1),
        ("a:²", "a:²", 1),
        (":3", ":3", 1),
        ("line\nbreak:2", "line\nbreak", 2),
    ],
)
def test_a_weight_follows_the_last_colon(text: str, path: str, weight: float) -> None:
    assert parse_data_file(text) == DataFile(Path(path), weight)


def test_a_file_named_like_a_weight_needs_one(folder: Path, options: list[Any]) -> None:
    os.rename("news.conll", "news:3")
    message = "^error: news: no such file; to use news:3, write news:3:1$"
    assert_error(run("train", "news:3", *options), message, exit_code=2)
    assert "✓ data      12 sentences, " in run_ok("train", "news:3:1", *options, "--dry-run")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["news.conll:0"], "news.conll:0: the weight must be positive and at most 1000"),
        (["news.conll:1001"], "news.conll:1001: the weight must be positive and at most 1000"),
        (
            ["news.conll:0.04"],
            "news.conll:0.04: is not a whole sentence of the 12; raise the weight",
        ),
        (["news.conll", "./news.conll:2"], "news.conll: is given twice; give it once"),
        (["news.conll", "--set", "keep_best=true"], "keep_best compares the F1 on dev files: give"),
        (
            ["news.conll", "--columns", "dev.conll=1,2"],
            "--columns dev.conll=1,2: dev.conll is not one of the data files",
        ),
    ],
)
def test_mistakes_are_one_line(files: list[str], message: str, options: list[Any]) -> None:
    assert_error(run("train", *files, *options), re.escape(message), exit_code=2)


def test_columns_of_all_files_or_of_one() -> None:
    files = [Path("a"), Path("b=c"), Path("d")]
    assert columns_of(files, []) == [None, None, None]
    found = columns_of(files, ["b=c=2,3", "1,4"])
    assert found == [Columns(1, 4), Columns(2, 3), Columns(1, 4)]
    with pytest.raises(UsageError, match=r"--columns 1: expected WORD,TAG"):
        columns_of(files, ["d=1"])


def test_columns_may_differ_per_file(folder: Path, options: list[Any]) -> None:
    (folder / "two.conll").write_text("Zoe B-LOC B-PER x\n\n")  # two columns with tags
    arguments = ["train", "news.conll", "two.conll", *options, "--dry-run"]
    assert "choose with --columns 1,2 or --columns 1,3" in run(*arguments).stderr
    shown = run_ok(*arguments, "--columns", "two.conll=1,3")
    assert "✓ data      two.conll: 1 sentence, 1 entity (PER 1, LOC 0); " in shown


# What is trained on


def test_the_preflight_counts_each_file(options: list[Any]) -> None:
    files = ["news.conll", "wiki.conll:2.5"]
    dev = ["--dev", "dev/news.conll", "--dev", "dev/wiki.conll"]
    changes = ["--set", "lowercase=0.5", "--set", "swap_names=0.25"]
    shown = run_ok("train", *files, *dev, *options, *changes, "--dry-run")
    assert (
        "✓ data      news.conll: 12 sentences, 24 entities (PER 12, LOC 12)"
        "; 6 added in lower case; 3 added with other names\n"
        "✓ data      wiki.conll: 2.5 × 4 sentences, 4 entities (PER 0, LOC 4)"
        "; 2 added in lower case; 1 added with other names\n"
        "✓ dev       dev/news.conll: 3 sentences, 6 entities (PER 3, LOC 3)\n"
        "✓ dev       dev/wiki.conll: 1 sentence, 1 entity (PER 0, LOC 1)\n"
    ) in shown
    # 21 sentences, and 2.5 times 7: 39 in batches of 4
    assert re.search(r"✓ time      about \d+ s: 10 steps of ", shown)


def test_a_copy_that_is_too_long_is_named(folder: Path, options: list[Any]) -> None:
    (folder / "long.conll").write_text("Rome I-LOC\n" + "requirements O\n" * 30 + "\n")
    short = ["--set", "max_tokens=330", "--set", "uppercase=1", "--dry-run"]
    result = run("train", "news.conll", "long.conll", *options, *short)
    assert result.exit_code == 1
    message = r"max_tokens, 330; sentence 1 of long\.conll in upper case, the longest \('ROME REQ"
    assert re.search(message, result.stderr), result.stderr


def test_weights_change_what_is_trained_and_resumed(
    folder: Path, options: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--set", "checkpoint_every=1"]
    with monkeypatch.context() as patch:
        patch.setattr("ner_edge.train.run.save_adapter", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run("train", "news.conll", "wiki.conll:2", *options, *more)
    resumed = ["train", "news.conll", *options, *more, "--resume"]
    message = "--resume: the checkpoint in out was made with a different "
    for other in ("wiki.conll:3", "wiki.conll:2.25"):
        result = run(*resumed, other)
        assert_error(result, f"{message}.*weights of the data", exit_code=2)
    assert_error(run(*resumed), f"{message}.*data", exit_code=2)
    run_ok(*resumed, "wiki.conll:2")
    saved = record(folder / "out")
    assert [(file["file"], file["weight"]) for file in saved["data"]] == [
        ("news.conll", 1),
        ("wiki.conll", 2),
    ]


# Dev files


def test_each_dev_file_is_scored(folder: Path, options: list[Any]) -> None:
    dev = ["--dev", "dev/news.conll", "--dev", "dev/wiki.conll", "--dev", "news.conll"]
    shown = run_ok("train", "wiki.conll", *dev, *options, "--reading", "both").splitlines()
    saved = record(folder / "out")
    scores = [file["f1"] for file in saved["dev"]]
    assert [file["file"] for file in saved["dev"]] == ["news.conll", "wiki.conll", "news.conll"]
    assert all(file["sha256"] for file in saved["dev"])
    assert saved["dev_f1"] == pytest.approx(sum(scores) / 3)
    names = ["dev/news.conll", "wiki.conll", "news.conll", "mean"]
    width = len("dev strict micro F1 (word head)")
    assert shown == [
        "out",
        "dev strict micro F1 (word head)",
        *(
            f"{name:<{width}}  {score:6.2f}"
            for name, score in zip(names, [*scores, saved["dev_f1"]], strict=True)
        ),
    ]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The F1 that each measurement at a checkpoint returns."""
    values: list[float] = []
    create = BestAdapter.__init__

    def scripted_create(self: BestAdapter, measure: Any) -> None:
        def measure_and_pop() -> float:
            assert 0 <= measure() <= 100
            return values.pop(0)

        create(self, measure_and_pop)

    monkeypatch.setattr(BestAdapter, "__init__", scripted_create)
    return values


@pytest.mark.parametrize("reading", ["causal", "both"])
def test_the_best_checkpoint_is_kept_and_measuring_changes_no_training(
    reading: str, folder: Path, options: list[Any], scripted: list[float]
) -> None:
    def weights(name: str) -> Any:
        (folder / "out").rename(folder / name)
        return load_file(folder / name / "adapter_model.safetensors")

    often = ["--set", "checkpoint_every=1", "--dev", "dev/news.conll", "--reading", reading]
    keep = [*often, "--set", "keep_best=true"]
    run_ok("train", "news.conll", *options, *often)
    last = weights("last")
    for name, values, step in (("a", [1.0, 3.0, 2.0], 2), ("b", [1.0, 2.0, 2.5], 3)):
        scripted += values
        run_ok("train", "news.conll", *options, *keep)
        kept = weights(name)
        assert record(folder / name)["steps"] == step
        same = all((kept[key] == last[key]).all() for key in last)
        assert same == (step == 3)


def test_the_best_checkpoint_survives_a_resumption(
    folder: Path, options: list[Any], scripted: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = ["--set", "checkpoint_every=1", "--dev", "dev/news.conll", "--set", "keep_best=true"]
    scripted += [3.0, 2.0, 1.0]
    run_ok("train", "news.conll", *options, *keep)
    unbroken = load_file("out/adapter_model.safetensors")
    scripted += [3.0, 2.0]
    with pytest.raises(IndexError):  # killed while it measures the third
        run("train", "news.conll", *options, *keep)
    assert_error(
        run("train", "news.conll", *options, *keep, "--set", "checkpoint_every=2", "--resume"),
        "different checkpoint_every",
        exit_code=2,
    )
    scripted += [1.0]
    run_ok("train", "news.conll", *options, *keep, "--resume")
    resumed = load_file("out/adapter_model.safetensors")
    assert all((resumed[name] == unbroken[name]).all() for name in unbroken)
    assert record(folder / "out")["steps"] == 1


# Attribution


def test_credits_travel_into_every_export(tiny: Any, folder: Path, options: list[Any]) -> None:
    run_ok("train", "news.conll", *options, "--attribution", CREDIT)
    assert record(folder / "out")["attribution"] == [CREDIT]
    options[options.index("out")] = "further"
    arguments = ["--from", "out", "--attribution", "B. 2025", "--attribution", CREDIT]
    run_ok("train", "wiki.conll", *options, *arguments)
    assert record(folder / "further")["attribution"] == [CREDIT, "B. 2025"]
    run_ok("average", "out", "further", "--out", "mean")
    assert record(folder / "mean")["attribution"] == [CREDIT, "B. 2025"]
    run_ok("export", "mean", "--base", tiny.folder, "-q", "f16", "--card")
    lines = (
        "## Training data\n\n- Hand et al. 2026, \\*Towns of the world\\* (CC BY 4.0)\n- B. 2025"
    )
    assert lines in (folder / "mean.md").read_text()
    assert f"training data: {CREDIT}\n" in run_ok("info", "mean-f16.gguf")
    # The file is a base in its turn.
    run_ok("export", "--base", "mean-f16.gguf", "-q", "f16", "--name", "again", "--card")
    assert lines in (folder / "again.md").read_text()


def test_without_credits_nothing_is_said(tiny: Any, folder: Path, options: list[Any]) -> None:
    run_ok("train", "news.conll", *options)
    run_ok("export", "out", "--base", tiny.folder, "-q", "f16", "--card")
    assert "Training data" not in (folder / "out.md").read_text()
    assert "training data" not in run_ok("info", "out-f16.gguf")


def test_damaged_credits_are_an_error(folder: Path, options: list[Any]) -> None:
    run_ok("train", "news.conll", *options)
    path = folder / "out" / "training_settings.json"
    path.write_text(json.dumps(record(folder / "out") | {"attribution": "not a list"}))
    options[options.index("out")] = "further"
    result = run("train", "news.conll", *options, "--from", "out")
    assert_error(result, r"training_settings\.json: not a record of training \(")


# Stopping in time


def test_with_a_deadline_the_learning_rate_falls_with_steps_or_time_whichever_is_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(learning_rate, "time", SimpleNamespace(monotonic=lambda: now))
    settings = TrainSettings(warmup_ratio=0.1)
    by_steps = LearningRate(settings, 100)
    with_deadline = LearningRate(settings, 100, deadline=1200.0)
    now = 1100.0
    assert with_deadline.of_step(80) == by_steps.of_step(80)
    assert with_deadline.of_step(3) == by_steps.of_step(50)
    now = 2000.0
    assert with_deadline.of_step(5) == 0


def test_a_run_ends_after_its_deadline_and_keeps_the_adapter(tiny: Any, folder: Path) -> None:
    settings = resolve_settings("edge", flags={"rank": 4, "alpha": 8, "batch_size": 4})
    steps = []
    scores = run_training(
        str(tiny.folder),
        [DataFile(folder / "news.conll")],
        [DataFile(folder / "dev" / "news.conll")],
        folder / "out",
        Task.from_toml(folder / "tiny.toml"),
        settings,
        deadline=monotonic(),
        update=lambda done, *_, label=None, **__: steps.append((label, done)),
    )
    assert [done for label, done in steps if label == "training"] == [1]
    saved = record(folder / "out")
    assert (saved["steps"], saved["steps_planned"], saved["dev_f1"]) == (1, 6, scores[0])
    weights = load_file(folder / "out" / "adapter_model.safetensors")
    assert not any(weight.any() for name, weight in weights.items() if "lora_B" in name), (
        "at the deadline, the learning rate is zero"
    )
    assert not (folder / "out" / "checkpoint.pt").exists()
