"""SHA-256 of files, by which hubs and manifests identify their contents."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 1 << 22


def sha256_of(path: Path, progress: Callable[[int], None] = lambda size: None) -> str:
    """Return the hash in hexadecimal. `progress` gets the size of each block. Raises `OSError`."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(view[:size])
            progress(size)
    return digest.hexdigest()
