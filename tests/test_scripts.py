"""The Python scripts run as they stand: from any folder, without an active environment."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = {
    path.name: path
    for path in sorted((ROOT / "scripts").iterdir())
    if path.read_bytes().startswith(b"#!/usr/bin/env python3\n")
}
QUICK = {
    "bench-hostile": "--model {gguf} --rounds 1 --threads 1 --kind digits",
    "bench-read": "{gguf} --rounds 1 --threads 1 --at-once 16 512",
    "fuzz-files": "--cases 1 --jobs 1",
    "fuzz-tag": "--texts 20",
    "measure-memory": "--megabytes 0.01",
}


def run(script: Path, *arguments: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run it as a user does who has installed nothing outside the clone's .venv."""
    search = [str(Path(sys.base_prefix) / "bin"), os.defpath]
    if not (ROOT / ".venv").exists():
        search.insert(0, str(Path(sys.executable).parent))
    environment = os.environ | {"PATH": os.pathsep.join(search)}
    environment.pop("VIRTUAL_ENV", None)
    return subprocess.run(
        [script, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_begins_with_two_lines_on_what_the_script_does(name, tmp_path):
    summary = (ast.get_docstring(ast.parse(SCRIPTS[name].read_text())) or "").split("\n\n")[0]
    result = run(SCRIPTS[name], "--help", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert 1 <= len(summary.split("\n")) <= 2
    assert summary in result.stdout


@pytest.mark.parametrize("name", QUICK)
def test_quick_scripts_end_with_a_line_of_json(name, tiny, tmp_path):
    arguments = (argument.format(gguf=tiny.gguf) for argument in QUICK[name].split())
    assert last_line(run(SCRIPTS[name], *arguments, folder=tmp_path))


def test_compare_decoders_tells_in_which_sentences_they_differ(tiny, tmp_path):
    arguments = ("--model", tiny.gguf, "--limit", 4, "--threads", 1)
    result = run(SCRIPTS["compare-decoders"], *arguments, folder=tmp_path)
    record = last_line(result)
    moves = {"median": 0.0, "99 %": 0.0, "largest": 0.0}
    assert record["again"] == {"sentences_that_differ": 0, "moves_nats": moves}
    # A random model spells words with other tokens under the grammar, and so strays.
    assert record["grammar"]["sentences_that_differ"] > 0
    assert re.search(r"sentence 1\n  batch: .+\n  grammar: ", result.stderr)


def test_bench_read_refuses_to_time_ways_that_disagree(tiny, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(tiny.gguf.read_bytes()[:-64] + b"\x00\x7e" * 32)  # NaN in float16
    arguments = (damaged, "--rounds", 1, "--threads", 1, "--at-once", 64)
    result = run(SCRIPTS["bench-read"], *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.endswith(" differ by nan nats\n")


def test_bench_tag_refuses_to_time_decoders_that_disagree(tiny, tmp_path):
    arguments = ("--model", tiny.gguf, "--sentences", 4, "--rounds", 2, "--threads", 1)
    result = run(SCRIPTS["bench-tag"], *arguments, folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: too many of 2 sentences differ from copy: ")


@pytest.mark.model
def test_bench_tag_on_the_default_model(tmp_path):
    arguments = ("--sentences", 2, "--rounds", 1, "--threads", 1)
    result = last_line(run(SCRIPTS["bench-tag"], *arguments, folder=tmp_path))
    assert result["batch_over_stock"] > 1


def last_line(result):
    """The JSON that a run ends with; it must have succeeded."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_a_users_mistake_is_one_line(tmp_path):
    result = run(SCRIPTS["compare-decoders"], "absent.conll", folder=tmp_path)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == "error: absent.conll: no such file\n"


@pytest.fixture
def script(tmp_path):
    """A script in a clone without an environment; it prints its Python and imports a library."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "launch.py", tmp_path / "scripts")
    path = tmp_path / "scripts" / "bench-x"
    path.write_text("import launch, sys\nprint(sys.executable, flush=True)\nimport absent_lib\n")
    return path


def test_a_missing_library_is_one_line(script, tmp_path):
    command = [sys.executable, script]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout == f"{sys.executable}\n"  # there is no .venv, so the Python in use
    assert result.stderr == (
        "error: No module named 'absent_lib'; scripts/test installs what scripts need\n"
    )


def test_the_clones_own_environment_is_used(script, tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "python of .venv:" "$@"\n')
    python.chmod(0o755)
    command = [sys.executable, "scripts/bench-x", "--rounds", "1"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.stdout == "python of .venv: scripts/bench-x --rounds 1\n"
