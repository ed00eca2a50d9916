"""The ratios of `bench-tag`, and the conversation with the peers that it times."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NAMES = ("launch.py", "peers.py", "speeds.py")
STUB = """\
import json, sys
request = json.loads(sys.stdin.readline())
print(json.dumps({"bert int8": {"batch": 8, "tokens": request["tokens"]}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"sentences": request["turn"], "seconds": request["turns"]}), flush=True)
"""
FAILING = 'import sys\nsys.exit("it failed")\n'


@pytest.fixture
def clone(tmp_path):
    """A clone with some of its scripts, and an environment for peers that seems complete."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for name in NAMES:
        shutil.copy(ROOT / "scripts" / name, scripts)
    python = tmp_path / ".venv-peers" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return tmp_path


def run(clone: Path, code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=clone / "scripts", capture_output=True, text=True, check=False
    )


def mark_installed(clone):
    code = "import json, peers; print(json.dumps(peers._REQUIREMENTS))"
    (clone / ".venv-peers" / "installed.json").write_text(run(clone, code).stdout.strip())


def test_ratios_are_those_of_the_methods_that_were_measured(clone):
    code = """
import json
from speeds import speed_ratios
speeds = {"stock": 2.0, "copy": 8.0, "copy alone": 4.0, "auto": 16.0, "auto alone": 6.0,
          "read": 24.0, "bert int8": 48.0}
print(json.dumps(speed_ratios(speeds)))
"""
    assert json.loads(run(clone, code).stdout) == {
        "auto_over_copy": 2.0,
        "auto_over_stock": 8.0,
        "read_over_copy": 3.0,
        "auto_alone_over_copy_alone": 1.5,
        "read_over_bert_int8": 0.5,
        "auto_over_bert_int8": 1 / 3,
    }


def test_speed_is_that_of_all_turns_together(clone):
    code = "from speeds import Turn, total_speed; print(total_speed([Turn(6, 1), Turn(2, 3)]))"
    assert run(clone, code).stdout == "2.0\n"


TAKE_A_TURN = """
from peers import Peers
peers = Peers([9, 31], threads=1)
print(peers.settings, peers.turn("bert int8", 1, 4))
peers.close()
"""


def test_peers_answer_from_an_environment_of_their_own(clone):
    mark_installed(clone)
    (clone / "scripts" / "bert_peers.py").write_text(STUB)
    result = run(clone, TAKE_A_TURN)
    turn = "Turn(sentences=1, seconds=4)"
    assert result.stdout == f"{{'bert int8': {{'batch': 8, 'tokens': [9, 31]}}}} {turn}\n"
    assert result.stderr == "Looking for the fastest setting of each peer ...\n"


def test_peers_that_fail_are_one_line_after_their_own_messages(clone):
    mark_installed(clone)
    (clone / "scripts" / "bert_peers.py").write_text(FAILING)
    result = run(clone, TAKE_A_TURN)
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()
    assert "it failed\n" in result.stderr
    assert last == "error: scripts/bert_peers.py failed; its messages are above"


def test_the_environment_is_made_on_demand(clone):
    python = clone / ".venv-peers" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@" >&2\nexit 1\n')
    result = run(clone, TAKE_A_TURN)
    assert result.returncode == 1
    first, pip, last = result.stderr.splitlines()
    assert first.startswith("Installing torch==")
    assert pip.startswith("-m pip install ")
    assert "onnxruntime==" in pip
    assert last == "error: pip could not install the peers; its messages are above"
