"""The files of one export: written under temporary names, and given their own together, once all
of them are whole."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ner_edge.errors import NerEdgeError, UsageError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.targets import check_not_input


class Staging:
    """A context that gives temporary paths. What was added last gets its name first; so add what
    describes a file before that file. After an error no file has its name, and those that were
    there before are as they were.

    Raises `UsageError` for a file that is one of `inputs`, which would be lost.
    """

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = inputs
        self._stack = ExitStack()
        self._temporary: dict[Path, Path] = {}

    def add(self, path: Path, outdated: Sequence[Path] = ()) -> Path:
        """Where to write what becomes `path`. The files `outdated` are removed just before."""
        if path in self._temporary:
            raise UsageError(f"{path}: would be written twice; give the recipes different names")
        for other in (path, *outdated):
            if other.is_dir():
                raise UsageError(f"{other}: is a folder, so no file of that name can be written")
            check_not_input(str(other), other, self._inputs)
        whole = atomic_path(path, outdated=outdated)
        self._temporary[path] = self._stack.enter_context(whole)
        return self._temporary[path]

    def write(self, path: Path, text: str) -> None:
        """Write the text of a file that was added; names in it keep the bytes they have."""
        self._temporary[path].write_text(text, encoding="utf-8", errors="surrogateescape")

    def written(self, path: Path) -> Path:
        """Where a file lies meanwhile; one that was not added, where it is."""
        return self._temporary.get(path, path)

    def __enter__(self) -> "Staging":
        self._stack.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, NerEdgeError):  # whose message is to name the files that were meant
            message = str(error)
            for path, temporary in self._temporary.items():
                message = message.replace(str(temporary), str(path))
            error.args = (message,)
        if error is None:
            try:
                self._wait_for_the_disk()
            except OSError as problem:  # before the first file has its name
                self._stack.__exit__(OSError, problem, None)
                raise
        self._stack.__exit__(kind, error, traceback)

    def _wait_for_the_disk(self) -> None:
        for temporary in self._temporary.values():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
