"""One process at a time: `ner_edge.files.atomic.exclusive`."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ner_edge.errors import NerEdgeError
from ner_edge.files.atomic import exclusive

HOLD = """
import sys
from pathlib import Path
from ner_edge.files.atomic import exclusive
with exclusive(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys, time
from pathlib import Path
from ner_edge.files.atomic import exclusive
path = Path(sys.argv[1])
for _ in range(50):
    with exclusive(path, "busy", wait=True):
        number = int(path.read_text())
        time.sleep(0.001)
        path.write_text(str(number + 1))
"""


def start(code: str, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def held(path: Path) -> "subprocess.Popen[str]":
    process = start(HOLD, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model"
    process = held(path)
    with pytest.raises(NerEdgeError) as caught, exclusive(path, "model: is being made"):
        pass
    assert str(caught.value) == "model: is being made"
    process.communicate("")
    with exclusive(path, "model: is being made"):
        pass


def test_nothing_is_left(tmp_path: Path) -> None:
    with exclusive(tmp_path / "model", "busy"):
        assert [path.name for path in tmp_path.iterdir()] == [".model.lock"]
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "model", "busy"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_a_killed_process_keeps_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "model"
    process = held(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (tmp_path / ".model.lock").exists()
    with exclusive(path, "busy"):
        pass
    assert not list(tmp_path.iterdir())


def test_waits_until_the_other_ends(tmp_path: Path) -> None:
    path = tmp_path / "model"
    process = held(path)
    start_time = time.monotonic()
    subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {process.pid}"])
    with exclusive(path, "busy", wait=True):
        assert time.monotonic() - start_time > 0.4
    process.communicate()


def test_no_two_are_inside_though_each_removes_the_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("0")
    processes = [start(COUNT, path) for _ in range(4)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert path.read_text() == "200"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with exclusive(tmp_path / "model", "busy"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(NerEdgeError, match=r"gone/model: cannot be written: .*No such file"),
        exclusive(tmp_path / "gone" / "model", "busy"),
    ):
        pass
