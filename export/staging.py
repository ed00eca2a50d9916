"""Write the files of one export under temporary names and rename them all once all are complete."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ner_edge.errors import NerEdgeError, UsageError
from ner_edge.files.atomic import atomic_path
from ner_edge.files.targets import check_not_input


class Staging:
    """A context manager that hands out temporary paths and renames the files on exit.

    Files are renamed in reverse order, so add the files that describe a model before the model.
    After an error no file is renamed, and existing files stay as they were.
    """

    def __init__(self, inputs: Sequence[Path]) -> None:
        self._inputs = inputs
        self._stack = ExitStack()
        self._temporary: dict[Path, Path] = {}

    def add(self, path: Path, outdated: Sequence[Path] = ()) -> Path:
        """Return the temporary path to write `path` to.

        The files `outdated` are removed just before it is renamed. Raises `UsageError` if `path`
        was added before, is a folder, or is one of the inputs.
        """
        if path in self._temporary:
            raise UsageError(f"{path}: would be written twice; give the recipes different names")
        for other in (path, *outdated):
            if other.is_dir():
                raise UsageError(f"{other}: is a folder, so no file of this name can be written")
            check_not_input(str(other), other, self._inputs)
        whole = atomic_path(path, outdated=outdated)
        self._temporary[path] = self._stack.enter_context(whole)
        return self._temporary[path]

    def write(self, path: Path, text: str) -> None:
        """Write a text file that was added; undecodable bytes of file names in it are preserved."""
        self._temporary[path].write_text(text, encoding="utf-8", errors="surrogateescape")

    def written(self, path: Path) -> Path:
        """Return the temporary path of a file that was added, else `path` itself."""
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
        if isinstance(error, NerEdgeError):  # its message should name the final paths
            message = str(error)
            for path, temporary in self._temporary.items():
                message = message.replace(str(temporary), str(path))
            error.args = (message,)
        if error is None:
            try:
                self._sync()
            except OSError as problem:  # before any file is renamed
                self._stack.__exit__(OSError, problem, None)
                raise
        self._stack.__exit__(kind, error, traceback)

    def _sync(self) -> None:
        for temporary in self._temporary.values():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
