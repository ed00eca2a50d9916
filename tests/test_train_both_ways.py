"""Training to read both ways: the word head is made, kept, resumed, recovered and counted."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import assert_error, run, run_ok
from exporting import export_model
from safetensors.torch import load_file
from tiny_models import save_model

from ner_edge.hf.torch_model import check_base
from ner_edge.hf.word_head import HEAD_FILE, read_word_head, write_word_head
from ner_edge.task import Task
from ner_edge.train.data import DataFile
from ner_edge.train.resource_checks import disk_check
from ner_edge.train.run import run_training
from ner_edge.train.settings import TrainSettings, resolve_settings
from ner_edge.train.start import Recovery, open_start
from ner_edge.train.word_head import head_depths, word_head_of
from ner_edge.word_head import Linear, WordHead

TASK = Task("tiny", {"PER": "person", "LOC": "location"}, "Find entities.")
TOML = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
CONLL = "".join(
    f"{name} I-PER\nlives O\nin O\n{place} I-LOC\n. O\n\n"
    for name in ("Zoe", "Ada", "Hussain", "Kim")
    for place in ("Rome", "England", "Oslo")
)
# 12 sentences, 4 in a step, 2 epochs: 6 steps.
SETTINGS = {"rank": 4, "alpha": 8, "batch_size": 4, "epochs": 2, "dtype": "float32"}
FLAGS = [x for key, value in SETTINGS.items() for x in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data, the task, and a base of five layers, with a head after the fourth and the last."""
    root = tmp_path_factory.mktemp("work")
    (root / "train.conll").write_text(CONLL)
    (root / "tiny.toml").write_text(TOML)
    save_model(
        root / "base", intermediate_size=256, max_position_embeddings=512, num_hidden_layers=5
    )
    return root


def command(work: Path, out: Path, *arguments: Any) -> list[Any]:
    start = ["train", work / "train.conll", "--base", work / "base"]
    return [*start, "--task", work / "tiny.toml", "--out", out, *FLAGS, *arguments]


def train(work: Path, out: Path, start: Path | None = None, **changes: Any) -> list[str]:
    """Train on the work's data; returns the note of each step."""
    notes: list[str] = []
    more = {name: changes.pop(name) for name in ("recovery", "resume") if name in changes}
    kill_at = changes.pop("kill_at", None)

    def update(
        done: float, total: float | None = None, *, label: str | None = None, note: str = ""
    ) -> None:
        notes.append(note)
        if done == kill_at:
            raise Killed

    settings = resolve_settings("edge", flags=SETTINGS | {"reading": "both"} | changes, start=start)
    data = DataFile(work / "train.conll")
    run_training(
        str(work / "base"), [data], [], out, TASK, settings, start=start, update=update, **more
    )
    return notes


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def both(work: Path) -> Path:
    """An adapter that reads both ways, and has learned to."""
    notes = train(work, work / "both", epochs=12, learning_rate=0.01)
    losses = [re.match(r"loss ([\d.]+) \+ ([\d.]+), ", note) for note in notes]
    first, last = (float(losses[i][2]) for i in (0, -1))
    assert last < 0.5 * first, "the head learns"
    return work / "both"


def head_of(folder: Path) -> WordHead:
    head = read_word_head(folder)
    assert head is not None
    return head


def test_command_line(work: Path, tmp_path: Path) -> None:
    dev = ["--dev", work / "train.conll"]
    result = run(*command(work, tmp_path / "both", "--reading", "both", *dev))
    assert result.exit_code == 0, result.stderr
    out = re.escape(str(tmp_path / "both"))
    assert re.fullmatch(rf"{out}\ndev strict micro F1 \d+\.\d\d \(word head\)\n", result.stdout)
    said = "10 % of the sentences causally; new word heads after layers 4, 5\n"
    assert f"✓ reading   both ways, {said}" in result.stderr
    head = head_of(tmp_path / "both")
    assert (head.labels, list(head.layers)) == (("PER", "LOC"), [4, 5])
    assert head.layers[5].weight.shape == (5, 64)
    saved = json.loads((tmp_path / "both" / "training_settings.json").read_text())
    assert saved["settings"]["reading"] == "both"
    # A causal run replaces it, and says what it always said.
    result = run(*command(work, tmp_path / "both", *dev))
    assert re.fullmatch(rf"{out}\ndev strict micro F1 \d+\.\d\d\n", result.stdout)
    assert "reading" not in result.stderr
    assert not (tmp_path / "both" / HEAD_FILE).exists()


def test_the_option_overrides_the_file_and_one_must_choose_from_two(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TrainSettings] = []
    monkeypatch.setattr("ner_edge.train.run.run_training", lambda *args, **_: seen.append(args[5]))
    (tmp_path / "a.toml").write_text('reading = "both"\n')
    for arguments, reading in (
        ([], "causal"),
        (["--reading", "both"], "both"),
        (["--set", "reading=both"], "both"),
        (["--config", tmp_path / "a.toml"], "both"),
        (["--config", tmp_path / "a.toml", "--reading", "causal"], "causal"),
    ):
        run_ok(*command(work, tmp_path / "out", *arguments))
        assert seen.pop().reading == reading
    assert run(*command(work, tmp_path / "out", "--reading", "left")).exit_code == 2
    wrong = run(*command(work, tmp_path / "out", "--set", "reading=left"))
    assert_error(wrong, "reading must be causal or both, not 'left'", exit_code=2)


def test_heads_are_after_every_fourth_layer_from_the_middle_on() -> None:
    assert head_depths(30, early=True) == [16, 20, 24, 28, 30]
    assert head_depths(24, early=True) == [12, 16, 20, 24]
    assert head_depths(2, early=True) == head_depths(2, early=False) == [2]


def test_passages_are_trained_on(work: Path, tmp_path: Path) -> None:
    """The head learns from them, and the adapter says so."""
    work = Path(shutil.copytree(work, tmp_path / "work"))
    (work / "train.conll").write_text(f"-DOCSTART- O\n\n{CONLL}")
    dev = ["--dev", work / "train.conll", "--reading", "both", "--set", "passages=0.9"]
    result = run(*command(work, tmp_path / "out", *dev, "--set", "batch_size=1"))
    assert result.exit_code == 0, result.stderr
    said = "both ways, 90 % in passages; of the rest, 10 % of the sentences causally; new word"
    assert f"✓ reading   {said}" in result.stderr
    assert re.search(r"dev strict micro F1 \d+\.\d\d \(word head\)", result.stdout)
    assert head_of(tmp_path / "out").passage == 100
    train(work, tmp_path / "further", start=tmp_path / "out", epochs=0.1)
    assert head_of(tmp_path / "further").passage == 100
    notes = train(
        work, tmp_path / "learnt", passages=1.0, epochs=20, batch_size=1, learning_rate=0.01
    )
    losses = [re.match(r"loss ([\d.]+) \+ ([\d.]+), ", note) for note in notes]
    first, last = (float(losses[i][2]) for i in (0, -1))
    assert last < 0.5 * first, "the head learns"
    causal = run(*command(work, tmp_path / "causal", "--set", "passages=0.5"))
    assert_error(causal, "they need --reading both", 2)


# Starting from an adapter


def test_an_adapter_is_trained_further_as_it_reads(work: Path, both: Path, tmp_path: Path) -> None:
    """Nobody need say so again; nearly no learning rate leaves the head as it was."""
    still = ["--from", both, "--set", "learning_rate=1e-12", "--set", "epochs=0.1"]
    result = run(*command(work, tmp_path / "still", *still))
    assert (
        "✓ reading   both ways, 10 % of the sentences causally; word heads after layers 4, 5\n"
        in (result.stderr)
    )
    before, after = head_of(both), head_of(tmp_path / "still")
    for depth, layer in before.layers.items():
        np.testing.assert_allclose(after.layers[depth].weight, layer.weight, atol=1e-6)
    saved = json.loads((tmp_path / "still" / "training_settings.json").read_text())
    assert saved["settings"]["reading"] == "both"


def test_causal_reading_leaves_the_head_out(work: Path, both: Path, tmp_path: Path) -> None:
    """It would be wrong for the new weights."""
    flags = ["--from", both, "--reading", "causal", "--set", "epochs=0.1"]
    result = run(*command(work, tmp_path / "out", *flags))
    assert f"✓ reading   causally, so the word head of {both} is left out\n" in result.stderr
    assert read_word_head(tmp_path / "out") is None


def test_a_causal_adapter_gets_a_new_head(work: Path, tmp_path: Path) -> None:
    train(work, tmp_path / "causal", reading="causal", epochs=0.1)
    flags = ["--from", tmp_path / "causal", "--set", "epochs=0.1"]
    result = run(*command(work, tmp_path / "new", *flags, "--reading", "both"))
    assert "new word heads after layers 4, 5\n" in result.stderr
    assert list(head_of(tmp_path / "new").layers) == [4, 5]
    run_ok(*command(work, tmp_path / "causal2", *flags))
    assert read_word_head(tmp_path / "causal2") is None


def test_a_depth_that_the_head_lacks_is_new(work: Path, both: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(both, start)
    head = head_of(both)
    write_word_head(WordHead(head.labels, {5: head.layers[5]}), start)
    shown = run_ok(*command(work, tmp_path / "out", "--from", start, "--dry-run"))
    assert "word heads after layers 4 (new), 5\n" in shown
    flags = ["--from", start, "--set", "early_loss=0"]
    shown = run_ok(*command(work, tmp_path / "out", *flags, "--dry-run"))
    assert "word heads after layers 5\n" in shown


@pytest.mark.parametrize(
    ("labels", "width", "message"),
    [
        (["LOC", "PER"], 64, "has the labels LOC, PER, but the task has PER, LOC; both must be"),
        (["PER"], 64, "has the labels PER, but the task has PER, LOC"),
        (["PER", "LOC"], 32, "is for hidden states of 32 values; those of the base have 64"),
    ],
)
def test_a_head_of_something_else_is_refused(
    labels: list[str], width: int, message: str, work: Path, both: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    shutil.copytree(both, start)
    tags = 1 + 2 * len(labels)
    layer = Linear(np.ones((tags, width), np.float32), np.ones(tags, np.float32))
    write_word_head(WordHead(tuple(labels), {5: layer}), start)
    result = run(*command(work, tmp_path / "out", "--from", start))
    assert_error(result, rf"start/{HEAD_FILE}: {message}")


# Resuming


@pytest.fixture(scope="module")
def whole(work: Path, both: Path) -> Path:
    train(work, work / "whole", both, checkpoint_every=2)
    return work / "whole"


def assert_same(one: Path, other: Path) -> None:
    for name in ("adapter_model.safetensors", HEAD_FILE):
        found = load_file(other / name)
        for key, weight in load_file(one / name).items():
            torch.testing.assert_close(found[key], weight, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kill_at", [2, 5])
def test_a_resumed_run_ends_like_an_unbroken_one(
    kill_at: int, work: Path, both: Path, whole: Path, tmp_path: Path
) -> None:
    """Its head and the head's optimizer state are in the checkpoint."""
    with pytest.raises(Killed):
        train(work, tmp_path, both, checkpoint_every=2, kill_at=kill_at)
    assert not (tmp_path / HEAD_FILE).exists()
    assert len(train(work, tmp_path, both, checkpoint_every=2, resume=True)) == 6 - kill_at // 2 * 2
    assert_same(whole, tmp_path)


def test_another_head_to_start_from_is_another_run(work: Path, both: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(both, start)
    with pytest.raises(Killed):
        train(work, tmp_path / "out", start, checkpoint_every=2, kill_at=2)
    head = head_of(start)
    layers = {depth: Linear(weight + 1, bias) for depth, (weight, bias) in head.layers.items()}
    write_word_head(WordHead(head.labels, layers), start)
    flags = ["--from", start, "--set", "checkpoint_every=2"]
    again = run(*command(work, tmp_path / "out", *flags, "--resume"))
    assert_error(again, r"was made with a different --from\n", exit_code=2)


# Recovery


def test_recovery_keeps_the_head_and_reads_as_the_adapter_does(
    work: Path, both: Path, tmp_path: Path
) -> None:
    """The head goes on learning from the labels, and the answers from the teacher."""
    (file,) = export_model(work / "base", both, tmp_path, ["q4_0"], task=TASK, threads=1)
    notes = train(work, tmp_path / "out", both, recovery=Recovery(file), learning_rate=1e-4)
    untaught = train(work, tmp_path / "untaught", both, reading="causal", recovery=Recovery(file))
    assert read_word_head(tmp_path / "untaught") is None
    assert all(re.match(r"loss [\d.]+ \+ [\d.]+, ", note) for note in notes)
    assert not any(" + " in note for note in untaught)
    before, after = head_of(both), head_of(tmp_path / "out")
    for depth, (weight, _) in before.layers.items():
        assert not np.array_equal(after.layers[depth].weight, weight), "it is trained along"
        np.testing.assert_allclose(after.layers[depth].weight, weight, atol=0.01)


def test_the_teacher_has_no_head(work: Path, both: Path, tmp_path: Path) -> None:
    (file,) = export_model(work / "base", both, tmp_path, ["q4_0"], task=TASK, threads=1)
    settings = resolve_settings("edge", flags=SETTINGS, start=both)
    start = open_start(str(work / "base"), settings, both, Recovery(file), list(TASK.labels))
    assert word_head_of(start.model) is not None
    assert not hasattr(start.teacher, "word_head")


# Resources


def test_the_disk_has_room_for_the_head(tmp_path: Path) -> None:
    sizes = check_base(save_model(tmp_path / "base", num_hidden_layers=5))

    def needs(reading: str, labels: int) -> float:
        settings = TrainSettings(rank=1, reading=reading)
        text = disk_check(tmp_path, sizes, settings, labels, recovers=False).text
        return float(re.search(r"about ([\d.]+) GB", text)[1])

    labels = 400_000  # 0.104 GB a copy of each of two heads: one saved, three in each checkpoint
    assert needs("causal", labels) == 0
    assert needs("both", labels) == pytest.approx(2 * 7 * 4 * 2 * labels * 65 / 1e9, rel=0.02)
