"""The cache folder, for files made or downloaded on this machine."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ner_edge.errors import NerEdgeError


def cache_dir() -> Path:
    """Return the user's cache folder for ner-edge, or `NER_EDGE_CACHE` if set; it may not exist."""
    override = os.environ.get("NER_EDGE_CACHE")
    return Path(override) if override else user_cache_path("ner-edge", appauthor=False)


def cache_folder(name: str) -> Path:
    """Return a folder of the cache, created if it is missing.

    Raises `NerEdgeError`, which names the variable to set, if it cannot be written.
    """
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "it is not writable")
    except OSError as error:
        raise NerEdgeError(
            f"{folder}: cannot be used as a cache ({error.strerror}); "
            "set NER_EDGE_CACHE to a writable folder"
        ) from None
    return folder
