"""How often a part was begun on this machine: one that kills its workers is given up."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

MOST = 10
"""A part that was begun so often fails."""


class Attempts(NamedTuple):
    """The attempts of a run; a file for each part in a temporary folder, which outlives workers."""

    run: str

    @property
    def _folder(self) -> Path:
        return Path(tempfile.gettempdir()) / f"ner-edge-bulk-{self.run}"

    def begin(self, part: str) -> int:
        """Count an attempt; return how many there were, this one included."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with (self._folder / part).open("ab") as file:
            file.write(b".")
            return file.tell()

    def end(self, part: str) -> None:
        """Forget the attempts of a part that is ready."""
        (self._folder / part).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder of this machine."""
        with suppress(OSError):
            for file in self._folder.iterdir():
                file.unlink()
            self._folder.rmdir()
