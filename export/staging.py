"""The files of one export: written under temporary names, and given their own together, once all
of them are whole."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from ner_edge.atomic import atomic_path
from ner_edge.errors import NerEdgeError
from ner_edge.targets import check_not_input


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

    def add(self, path: Path, outdated: Iterable[Path] = ()) -> Path:
        """Where to write what becomes `path`. The files `outdated` are removed just before."""
        check_not_input(str(path), path, self._inputs)
        whole = atomic_path(path, outdated=outdated)
        self._temporary[path] = self._stack.enter_context(whole)
        return self._temporary[path]

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
        self._stack.__exit__(kind, error, traceback)
