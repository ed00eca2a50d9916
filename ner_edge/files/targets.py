"""Where results are to go, checked before the work begins; a result never replaces an input."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from ner_edge.errors import UsageError

# What is read of the folder of a model or an adapter.
_MODEL_FILE = re.compile(
    r".*config\.json|.*\.safetensors(\.index\.json)?|tokenizer.*|vocab\.json|merges\.txt"
    r"|(ner_edge|training)_.*\.json"
)


def check_file(option: str, target: Path, inputs: Iterable[Path]) -> None:
    """Raise `UsageError` naming `option` if `target` cannot be written or is one of `inputs`."""
    if target.is_dir():
        raise UsageError(f"{option}: is a folder")
    check_not_input(option, target, inputs)
    if not is_stream(target):
        _check_writable(option, behind_link(target).parent)


def check_folder(option: str, folder: Path) -> None:
    """Raise `UsageError` naming `option` if `folder` cannot be made or written."""
    _check_writable(option, nearest(folder))


def check_not_input(option: str, target: Path, inputs: Iterable[Path]) -> None:
    """Raise `UsageError` naming `option` if `target` is one of `inputs`, also by another name, or
    one of the files by which a folder of those is a model."""
    for path in inputs:
        if path.is_dir() and _MODEL_FILE.fullmatch(target.name):
            path = path / target.name
        if same_file(target, path):
            raise UsageError(f"{option}: would replace {path}, which is read; give another name")


def same_file(first: Path, second: Path) -> bool:
    """Are both there, and one file or folder, be it by links?"""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def is_stream(path: Path) -> bool:
    """Is something there that is written into, not replaced, like `/dev/stdout` or a pipe?"""
    return path.exists() and not path.is_file() and not path.is_dir()


def behind_link(path: Path) -> Path:
    """Where a link leads; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def nearest(folder: Path) -> Path:
    """The folder itself, or the nearest above it, of which there is something of that name."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def _check_writable(option: str, folder: Path) -> None:
    if not folder.is_dir():
        kind = "is no" if os.path.lexists(folder) else "no such"
        raise UsageError(f"{option}: {folder}: {kind} folder")
    try:
        with TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option}: {folder}: cannot be written ({error.strerror})") from None
