"""Check output paths before the work begins; an output never replaces an input."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from ner_edge.errors import UsageError

# The names of files that are read from the folder of a model or an adapter.
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
    """Raise `UsageError` naming `option` if `target` is one of `inputs`, even by another name.

    A folder among `inputs` stands for the model files in it.
    """
    for path in inputs:
        if path.is_dir() and _MODEL_FILE.fullmatch(target.name):
            path = path / target.name
        if same_file(target, path):
            raise UsageError(f"{option}: would replace {path}, which is read; give another name")


def check_given_once(paths: Sequence[Path]) -> None:
    """Raise `UsageError` if one of the files is given twice, even by another name."""
    for number, path in enumerate(paths):
        if any(same_file(path, other) for other in paths[:number]):
            raise UsageError(f"{path}: is given twice; give it once")


def same_file(first: Path, second: Path) -> bool:
    """Whether both exist and are one file or folder, links followed."""
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def is_stream(path: Path) -> bool:
    """Whether `path` is written into rather than replaced, such as `/dev/stdout` or a pipe."""
    return path.exists() and not path.is_file() and not path.is_dir()


def behind_link(path: Path) -> Path:
    """Return the target of a link, and any other path unchanged."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def nearest(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def _check_writable(option: str, folder: Path) -> None:
    if not folder.is_dir():
        problem = "is not a folder" if os.path.lexists(folder) else "no such folder"
        raise UsageError(f"{option}: {folder}: {problem}")
    try:
        with TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{option}: {folder}: cannot be written ({error.strerror})") from None
