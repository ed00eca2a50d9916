"""What may lie where a file is expected, other than a file."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

Place = Callable[[Path], None]
"""Puts something where the file was."""


def nothing(path: Path) -> None:
    """The file is missing."""
    _clear(path)


def empty(path: Path) -> None:
    """The file holds nothing."""
    _clear(path)
    path.touch()


def folder(path: Path) -> None:
    """A folder, with something in it."""
    _clear(path)
    path.mkdir()
    (path / "x").touch()


def fifo(path: Path) -> None:
    """A named pipe to which nobody writes."""
    _clear(path)
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    """A socket."""
    _clear(path)
    here = Path.cwd()
    try:
        os.chdir(path.parent)  # a socket's path is short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def endless_device(path: Path) -> None:
    """A link to a device that never ends."""
    _link(path, "/dev/zero")


def full_device(path: Path) -> None:
    """A link to a device on which there is never room."""
    _link(path, "/dev/full")


def null_device(path: Path) -> None:
    """A link to the device that holds nothing."""
    _link(path, os.devnull)


def loop(path: Path) -> None:
    """A link to itself."""
    _link(path, path.name)


def dangling_link(path: Path) -> None:
    """A link to nothing."""
    _link(path, "no such file")


def own_memory(path: Path) -> None:
    """A link to a file that cannot be read at its start."""
    _link(path, "/proc/self/mem")


def huge(path: Path) -> None:
    """A sparse file: its own beginning, then zeros."""
    if path.is_file():  # a model is mapped whole, by us and by a child of ours: no fault
        os.truncate(path, 5 * 10**8 if path.suffix == ".gguf" else 3 * 10**9)


def unreadable(path: Path) -> None:
    """A file that nobody but root may read."""
    path.chmod(0)


PLACES: list[Place] = [
    nothing,
    empty,
    folder,
    fifo,
    unix_socket,
    endless_device,
    full_device,
    null_device,
    loop,
    dangling_link,
    own_memory,
    huge,
    unreadable,
]


def _clear(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link(path: Path, target: str) -> None:
    _clear(path)
    path.symlink_to(target)
