"""Things other than a readable file that may lie at its path."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

Place = Callable[[Path], None]
"""Replaces the file at a path."""


def nothing(path: Path) -> None:
    _clear(path)


def empty(path: Path) -> None:
    _clear(path)
    path.touch()


def folder(path: Path) -> None:
    _clear(path)
    path.mkdir()
    (path / "x").touch()


def fifo(path: Path) -> None:
    """A named pipe without a writer."""
    _clear(path)
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    _clear(path)
    here = Path.cwd()
    try:
        os.chdir(path.parent)  # the path of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def endless_device(path: Path) -> None:
    _link(path, "/dev/zero")


def full_device(path: Path) -> None:
    _link(path, "/dev/full")


def null_device(path: Path) -> None:
    _link(path, os.devnull)


def loop(path: Path) -> None:
    _link(path, path.name)


def dangling_link(path: Path) -> None:
    _link(path, "no such file")


def own_memory(path: Path) -> None:
    """A link to a file whose first bytes cannot be read."""
    _link(path, "/proc/self/mem")


def huge(path: Path) -> None:
    """A sparse file of gigabytes: the file itself, then zeros."""
    if path.is_file():  # a GGUF is smaller: mapping it whole, in two processes, is no fault
        os.truncate(path, 5 * 10**8 if path.suffix == ".gguf" else 3 * 10**9)


def unreadable(path: Path) -> None:
    path.chmod(0)


PLACES: list[Place] = [
    *(nothing, empty, folder, fifo, unix_socket, endless_device, full_device, null_device, loop),
    *(dangling_link, own_memory, huge, unreadable),
]


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(path: Path, target: str) -> None:
    _clear(path)
    path.symlink_to(target)
