"""The fuzzer of damaged files notices every kind of bad end."""

import ctypes
import os
import sys
import time
from pathlib import Path

import damage_runs
import pytest
from damage import Case, Command
from damage_outcomes import judge

import ner_edge.cli.app

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="memory is read from /proc"
)


def print_error(text="error: x.gguf: damaged\n", code=1):
    sys.stderr.write(text)
    raise SystemExit(code)


def raise_error():
    raise RecursionError("too deep")


def start_child_that_sleeps():
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)


def take_memory():
    held = bytearray(damage_runs.memory_of_process() + 300_000_000)
    time.sleep(len(held))


def let_child_take_memory():
    if os.fork() == 0:
        take_memory()
    os.wait()


def leave_file():
    Path("half.gguf").touch()
    print_error()


def leave_hidden_file():
    Path(".half.gguf").touch()
    print_error()


def fail_check():
    print("✗ sha256: another")
    raise SystemExit(1)


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (lambda: print("fine"), "ok"),
        (lambda: print_error("warning: odd\ntraining: 12%, 1:00 left\n", 0), "ok"),
        (print_error, "error"),
        (lambda: print_error("warning: odd\nerror: x\n", 2), "error"),
        (leave_hidden_file, "error"),
        (fail_check, "error"),
        (raise_error, "traceback"),
        (lambda: ctypes.string_at(0), "abort"),
        (os.abort, "abort"),
        (lambda: time.sleep(60), "hang"),
        (start_child_that_sleeps, "hang"),
        (take_memory, "memory"),
        (let_child_take_memory, "memory"),
        (leave_file, "leftover"),
        (lambda: print("a\x1b[2Jb"), "escape"),
        (lambda: print_error("error: a\x85b\n"), "escape"),
        (lambda: print_error("UserWarning: odd\nerror: x\n"), "noise"),
        (lambda: print_error("error: x\nsecond line\n"), "noise"),
        (lambda: print_error(""), "unclear"),
        (lambda: print_error("error: x\nerror: y\n"), "unclear"),
        (lambda: print_error(code=3), "unclear"),
    ],
)
def test_how_a_run_ended(command, outcome, tmp_path, monkeypatch):
    if outcome == "memory":  # what this process holds, its forks hold too
        limit = damage_runs.memory_of_process() + 200_000_000
        monkeypatch.setattr(damage_runs, "BYTES", limit)
    else:
        monkeypatch.setattr(damage_runs, "SECONDS", 1.0)
        monkeypatch.setattr(damage_runs, "BYTES", 1 << 40)
    assert run(command, tmp_path, monkeypatch).outcome == outcome


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("/clone/ner_edge/cli", "ner_edge/cli/x.py:3"),
        ("/clone/export/read", "export/read/x.py:3"),
        ("/lib/site-packages/ner_edge/eval", "ner_edge/eval/x.py:3"),
        ("/lib/site-packages/torch/export", "ner_edge/y.py:2"),
    ],
)
def test_a_traceback_is_told_by_the_innermost_line_of_this_project(folder, line):
    text = (
        'Traceback (most recent call last):\n  File "/clone/ner_edge/y.py", line 2, in f\n'
        f'  File "{folder}/x.py", line 3, in g\nValueError: bad\n'
    )
    assert judge(256, "", text, False) == ("traceback", f"ValueError: bad at {line}")


def test_what_must_fail_may_not_be_accepted(tmp_path, monkeypatch):
    result = run(lambda: print("fine"), tmp_path, monkeypatch, kind="manifest_lie")
    assert result.outcome == "accepted"
    assert run(fail_check, tmp_path, monkeypatch, kind="manifest_lie").outcome == "error"


def test_nothing_of_a_run_stays(tmp_path, monkeypatch):
    run(leave_file, tmp_path, monkeypatch)
    assert list((tmp_path / "work").iterdir()) == []


def run(command, folder, monkeypatch, kind="flip_bits"):
    """Return the result of a command that calls `command`."""
    (folder / "inputs").mkdir(exist_ok=True)
    (folder / "work").mkdir(exist_ok=True)
    monkeypatch.setattr(ner_edge.cli.app, "main", lambda arguments: command())
    case = Case(0, "model", kind, "", "model.gguf", b"x", None, [])
    return damage_runs.run_command(case, Command("x", []), folder / "inputs", folder / "work")
