"""The files that a run leaves out: each is reported, and the run goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ner_edge.errors import ModelError, NerEdgeError, UsageError
from ner_edge.files.atomic import disk_is_full
from ner_edge.files.targets import nearest
from ner_edge.terminal.streams import say


class LeftOut:
    """Counts and reports what is left out of the results in the folder `out`.

    Without a folder there is one file only: nothing is left out, and errors are raised.
    """

    def __init__(self, out: Path | None) -> None:
        self.count = 0
        self._out = out

    def add(self, path: Path, reason: str) -> None:
        """Report a file or folder and why it is left out."""
        self.count += 1
        say(f"left out: {path}: {reason}")

    @contextmanager
    def on_error(self, path: Path) -> Iterator[None]:
        """Leave `path` out if there is an error that concerns only it."""
        try:
            yield
        except (ModelError, UsageError):
            raise
        except NerEdgeError as error:
            if self._out is None or disk_is_full(nearest(self._out)):
                raise
            self.add(path, str(error).removeprefix(f"{path}: "))

    def check(self) -> None:
        """Raise `NerEdgeError` if anything was left out."""
        if self.count:
            raise NerEdgeError(f"not everything is in the results: {self.count} left out")
