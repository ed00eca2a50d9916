"""On a full disk each command fails with one clear line and leaves no incomplete file."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import save_adapter, save_model

MEGABYTE = 1_000_000
TASK = 'name = "tiny"\ninstruction = "Find."\n[labels]\nPER = "person"\n'


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, an adapter, a task and data, on a disk with room."""
    folder = tmp_path_factory.mktemp("work")
    base = save_model(folder / "base", hidden_size=128, intermediate_size=256)
    save_adapter(folder / "adapter", base)
    (folder / "gold.conll").write_text("Zoe I-PER\nlives O\n\n" * 8)
    (folder / "tiny.toml").write_text(TASK)
    return folder


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """An empty disk of 64 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(disk: Path, left: int) -> None:
    """Fill the disk until about `left` bytes are free."""
    room = shutil.disk_usage(disk).free - left
    (disk / "filler").write_bytes(bytes(room))


def ner_edge(*arguments: object, cache: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ner_edge", *map(str, arguments)],
        env=os.environ | {"NER_EDGE_CACHE": str(cache), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )


def errors(result: "subprocess.CompletedProcess[str]") -> list[str]:
    """The lines on stderr that are not preflight checks."""
    return [line for line in result.stderr.splitlines() if line[0] not in "✓✗"]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")} - {"filler"}


def train(work: Path, out: Path, *flags: object) -> "subprocess.CompletedProcess[str]":
    arguments = ["--base", work / "base", "--task", work / "tiny.toml", "--out", out]
    data = work / "gold.conll"
    return ner_edge("train", data, *arguments, "--set", "rank=64", *flags, cache=work / "cache")


def test_train_says_before_it_starts_that_there_is_no_room(work, disk):
    fill(disk, 2 * MEGABYTE)
    result = train(work, disk / "out")
    assert result.returncode == 1
    (error,) = errors(result)
    assert error.startswith(
        f"error: --out {disk / 'out'}: not enough disk space: the run needs about"
    )
    assert names(disk) == set()


@pytest.mark.parametrize(
    ("room", "file", "kept"),
    [
        (0, "checkpoint.pt", set()),
        (MEGABYTE, "checkpoint.pt", set()),
        (3_300_000, "adapter_model.safetensors", {"checkpoint.pt"}),
    ],
)
def test_train(room, file, kept, work, disk):
    """Another program fills the disk after the check."""
    doomed = f"""
import sys
from pathlib import Path
from ner_edge.cli.app import main
from ner_edge.train import run
check = run.disk_check

def check_and_fill(*arguments):
    found = check(*arguments)
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from test_full_disk import fill
    fill(Path({str(disk)!r}), {room})
    return found

run.disk_check = check_and_fill
main(sys.argv[1:])
"""
    out = disk / "out"
    arguments = ["train", work / "gold.conll", "--base", work / "base", "--out", out]
    arguments += ["--task", work / "tiny.toml", "--set", "rank=64"]
    result = subprocess.run(
        [sys.executable, "-c", doomed, *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert errors(result) == [f"error: {out / file}: cannot be written: the disk is full"]
    assert names(out) == kept


@pytest.mark.parametrize("quant", ["f16", "q8_0", "q4_0"])
@pytest.mark.parametrize("room", [0, 200_000])
def test_export(quant, room, work, disk):
    fill(disk, room)
    arguments = [work / "adapter", "--base", work / "base", "--task", work / "tiny.toml"]
    arguments += ["--out", disk / "out", "--quant", quant]
    result = ner_edge("export", *arguments, cache=work / "cache")
    assert result.returncode == 1
    (error,) = errors(result)
    assert error.startswith("error: ")
    assert "the disk is full" in error or "GB are free" in error
    assert names(disk) <= {"out"}


def test_eval(tiny, work, disk):
    fill(disk, 0)
    arguments = ["eval", work / "gold.conll", "-m", tiny.gguf, "--no-speed"]
    target = disk / "report.json"
    result = ner_edge(*arguments, "--json", target, cache=work / "cache")
    assert result.returncode == 1
    assert errors(result) == [f"error: {target}: cannot be written: the disk is full"]
    assert names(disk) == set()
    result = ner_edge(*arguments, "--report", disk / "report", cache=work / "cache")
    assert result.returncode == 1
    assert result.stderr.count("the disk is full") == 1
    assert names(disk) <= {"report"}


def test_the_cache_of_an_evaluation(tiny, work, disk):
    """The cache is lost, but not the evaluation."""
    fill(disk, 0)
    result = ner_edge("eval", work / "gold.conll", "-m", tiny.gguf, "--no-speed", cache=disk)
    assert result.returncode == 0
    (warning,) = errors(result)
    assert "predictions cannot be kept (No space left on device)" in warning
    assert all(path.stat().st_size == 0 for path in disk.rglob("*.jsonl"))


@pytest.mark.parametrize("command", [["tag"], ["redact", "--key", "key"]], ids=lambda c: c[0])
def test_folders(command, tiny, work, disk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "in" / name).write_text("Zoe in Rome\n" * 500)
    fill(disk, 0)
    arguments = [*command, tmp_path / "in", "--out", disk / "out", "-m", tiny.gguf]
    result = ner_edge(*arguments, cache=work / "cache")
    assert result.returncode == 1
    (error,) = errors(result)
    assert error.startswith(f"error: {disk}/out/")
    assert "the disk is full" in error
    assert not (tmp_path / "key").exists()
    assert all(path.stat().st_size == 0 for path in (disk / "out").rglob("*") if path.is_file())
