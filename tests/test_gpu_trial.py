"""`scripts/gpu-trial`: runs packed here are trained there, with torch and little else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).parent.parent
NEWS = "".join(
    f"{name} I-PER\nlives O\nin O\n{place} I-LOC\n. O\n\n"
    for name in ("Zoe", "Ada", "Kim")
    for place in ("Rome", "Oslo")
)
WIKI = "Bonn X I-LOC\nis X O\nold X O\n\n" * 3
TASK = """
name = "tiny"
instruction = "Find entities."
[labels]
PER = "person"
LOC = "location"
"""
RUNS = """
base = "base"
task = "tiny.toml"
dev = ["news.conll", "dev/news.conll"]
columns = ["wiki.conll=1,3"]

[settings]
rank = 4
alpha = 8
batch_size = 4
epochs = 1
dtype = "float32"

[[run]]
name = "impossible"
data = ["news.conll"]
settings = { max_tokens = 5 }

[[run]]
name = "several"
data = ["news.conll", "wiki.conll:2.5"]
attribution = ["A. Author 2009 (CC BY 4.0)"]
settings = { seed = 1, reading = "both" }
"""
# Not needed for training: llama.cpp, the command line, splitting into sentences, reports.
BLOCKED = ("llama_cpp", "typer", "rich", "nupunkt", "seqeval", "matplotlib")


def run(*command: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def pack(runs: Path, out: Path, *options: object) -> "subprocess.CompletedProcess[str]":
    script = ROOT / "scripts" / "gpu-trial"
    return run(script, runs, "--out", out, "--part-mb", "0.2", *options)


@pytest.fixture(scope="module")
def folder(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a trial is packed from."""
    root = tmp_path_factory.mktemp("trial")
    shutil.copytree(tiny.folder, root / "base")
    (root / "dev").mkdir()
    (root / "news.conll").write_text(NEWS)
    (root / "dev" / "news.conll").write_text(NEWS[: NEWS.index("\n\n") + 2])
    (root / "wiki.conll").write_text(WIKI)
    (root / "tiny.toml").write_text(TASK)
    (root / "runs.toml").write_text(RUNS)
    return root


@pytest.fixture(scope="module")
def packed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "parts"
    result = pack(folder / "runs.toml", out)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{out}/start.py\n"
    sizes = [path.stat().st_size for path in out.glob("part-*")]
    assert len(sizes) > 2
    assert max(sizes) <= 200_000
    return out


@pytest.fixture
def blocked(tmp_path: Path) -> str:
    """A folder in which what the machine does not have cannot be imported."""
    for name in BLOCKED:
        (tmp_path / "blocked" / name).mkdir(parents=True)
        (tmp_path / "blocked" / name / "__init__.py").write_text("raise ImportError('blocked')\n")
    return str(tmp_path / "blocked")


@pytest.mark.parametrize("together", [1, 2])
def test_runs_are_trained_without_llama_cpp_and_one_that_fails_stops_no_other(
    packed: Path, blocked: str, tmp_path: Path, together: int
) -> None:
    out = tmp_path / "results"
    options = ("--out", out, "--work", tmp_path / "w", "--together", together)
    result = run(packed / "start.py", *options, PYTHONPATH=blocked)
    assert result.returncode == 1, "one run failed"
    failed, trained = json.loads((out / "scores.json").read_text())
    assert failed["error"].startswith("error: 6 of 6 sentences need more tokens than max_tokens, 5")
    assert (trained["error"], trained["steps"], trained["steps_planned"]) == (None, 4, 4)
    record = json.loads((out / "several" / "training_settings.json").read_text())
    assert trained["f1"] == {
        "news.conll": record["dev"][0]["f1"],
        "dev/news.conll": record["dev"][1]["f1"],
    }
    assert trained["mean"] == record["dev_f1"]
    assert record["base"] == "base", "as it is called here, not there"
    assert record["attribution"] == ["A. Author 2009 (CC BY 4.0)"]
    assert [(file["file"], file["weight"]) for file in record["data"]] == [
        ("news.conll", 1),
        ("wiki.conll", 2.5),
    ]
    assert record["settings"]["seed"] == 1
    adapter = out / "several"
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == (
        "base"
    )
    assert all(
        weight.isfinite().all()
        for weight in load_file(adapter / "adapter_model.safetensors").values()
    )
    assert (adapter / "word_head.safetensors").exists()
    assert "impossible" in result.stdout
    assert f"mean {record['dev_f1']:.2f}" in result.stdout


def test_the_code_that_runs_is_the_packed_one(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    run(copy / "start.py", "--out", tmp_path / "a", "--minutes", 0)  # unpacks
    (planted,) = (copy / "work").glob("*/code/ner_edge/train/run.py")
    planted.write_text("raise ImportError('planted')\n")
    run(copy / "start.py", "--out", tmp_path / "b")
    assert "planted" in (tmp_path / "b" / "several.log").read_text()


def test_runs_out_of_time_are_stopped(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = run(
        packed / "start.py", "--out", out, "--work", tmp_path / "work", "--minutes", "0.001"
    )
    assert result.returncode == 1
    scores = json.loads((out / "scores.json").read_text())
    assert [score["error"] for score in scores] == ["out of time", "out of time"]
    assert all(score["seconds"] < 30 for score in scores)


def test_damaged_and_missing_parts_are_refused(packed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(packed, copy)
    part = copy / "part-001"
    data = bytearray(part.read_bytes())
    data[1000] ^= 1
    part.write_bytes(data)
    for message in (
        f"error: {part}: has another hash than when it was packed; copy it again\n",
        f"error: {part}: cannot be read (No such file or directory); copy all parts here\n",
    ):
        result = run(copy / "start.py", "--out", tmp_path / "results")
        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == message
        part.unlink(missing_ok=True)
    (copy / "parts.json").unlink()
    result = run(copy / "start.py", "--out", tmp_path / "results")
    assert result.stderr == f"error: {copy}/parts.json: no such file; copy the whole folder here\n"


def test_speed_is_measured_packed_against_naive(packed: Path, blocked: str, tmp_path: Path) -> None:
    measure = ("--measure", "--shape", "tiny", "--steps", 1, "--work", tmp_path / "work")
    out = tmp_path / "results"
    result = run(packed / "start.py", "--out", out, *measure, PYTHONPATH=blocked)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report == json.loads((out / "speed.json").read_text())
    assert (report["rank"], report["batch_size"]) == (256, 8), "of the preset paper"
    assert report["packed"]["losses"] == pytest.approx(report["naive"]["losses"], rel=0.02)
    ratio = report["packed"]["sentences_per_second"] / report["naive"]["sentences_per_second"]
    assert report["packed_over_naive"] == pytest.approx(ratio)
    assert report["prefix_tokens"] < report["tokens_per_sentence"]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"several"', '"a/b"', "run 'a/b': its name must be letters, digits, '.', '_' and '-'"),
        ('"several"', '"impossible"', "run impossible: several runs have this name"),
        ("seed = 1", "sead = 1", "run several: --set sead=1: unknown setting: sead"),
        ("seed = 1", "seed = -1", "run several: --set seed=-1: seed must be in [0, 2^63)"),
        ("attribution", "atribution", "runs.toml: not a list of runs (Object contains unknown"),
        ('"news.conll", "w', '"none.conll", "w', "none.conll: no such file"),
        (":2.5", ":0", "wiki.conll:0: the weight must be positive"),
        ("wiki.conll=1,3", "x=1,3", "--columns x=1,3: x is not one of the data files"),
    ],
)
def test_mistakes_are_found_before_packing(
    before: str, after: str, message: str, folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert before in RUNS
    (copy / "runs.toml").write_text(RUNS.replace(before, after))
    result = pack(copy / "runs.toml", tmp_path / "out")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_left_alone(folder: Path, packed: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in packed.iterdir()}
    result = pack(folder / "runs.toml", packed)
    assert "is not empty; give a new folder" in result.stderr
    assert {path.name: path.stat().st_mtime_ns for path in packed.iterdir()} == before
