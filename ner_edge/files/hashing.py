"""SHA-256 of files, which is how hubs and manifests name what a file holds."""

import hashlib
from collections.abc import Callable
from pathlib import Path

_BLOCK = 1 << 22


def sha256_of(path: Path, progress: Callable[[int], None] = lambda size: None) -> str:
    """In hexadecimal. `progress` gets the bytes of each block read. Raises `OSError`."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(view[:size])
            progress(size)
    return digest.hexdigest()
