"""The model's file, which each machine of a cluster finds or receives once."""

import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

from ner_edge.errors import ModelError
from ner_edge.files.atomic import atomic_path, exclusive
from ner_edge.files.cache import cache_folder
from ner_edge.files.hashing import sha256_of


class ModelFile(NamedTuple):
    """A file by its content; its path holds on the machine where it was found."""

    path: str
    size: int
    sha256: str
    content: Any = None
    """Ray's reference to its bytes; None if all workers run where the file is."""

    @classmethod
    def at(cls, path: Path) -> "ModelFile":
        """Return the model at a path. Raises `ModelError` if it cannot be read."""
        try:
            return cls(os.path.abspath(path), path.stat().st_size, sha256_of(path))
        except OSError as error:
            raise ModelError(f"{path}: cannot be read ({error.strerror})") from None

    def for_other_machines(self) -> "ModelFile":
        """Return the model with its bytes, put into Ray's object store."""
        import ray

        return self._replace(content=ray.put(Path(self.path).read_bytes()))

    def here(self) -> Path:
        """Return the path on this machine; the file is received by one process, if it is missing.

        Raises `ModelError` if it is neither here nor sent along.
        """
        path = Path(self.path)
        if self._is_at(path):
            return path
        if self.content is None:
            raise ModelError(f"{socket.gethostname()}: {path} is missing or another model")
        kept = cache_folder("models") / f"{self.sha256}.gguf"
        with exclusive(kept, "", wait=True):
            if not self._is_at(kept):
                self._receive(kept)
        return kept

    def _receive(self, target: Path) -> None:
        import ray

        with atomic_path(target) as partial:
            partial.write_bytes(ray.get(self.content))
            if not self._is_at(partial):
                raise ModelError(f"{socket.gethostname()}: the model was damaged on its way")

    def _is_at(self, path: Path) -> bool:
        try:
            return path.stat().st_size == self.size and sha256_of(path) == self.sha256
        except OSError:
            return False
