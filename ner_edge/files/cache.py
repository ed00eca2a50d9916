"""Where files made on this machine are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ner_edge.errors import NerEdgeError


def cache_dir() -> Path:
    """The user's cache folder for ner-edge, which may not exist; `NER_EDGE_CACHE` overrides it."""
    override = os.environ.get("NER_EDGE_CACHE")
    return Path(override) if override else user_cache_path("ner-edge", appauthor=False)


def cache_folder(name: str) -> Path:
    """A folder in the cache for what cannot be done without, created if needed.

    Raises `NerEdgeError`, with the way out, if nothing can be written there.
    """
    folder = cache_dir() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "nothing can be written there")
    except OSError as error:
        raise NerEdgeError(
            f"{folder}: cannot be used as a cache ({error.strerror}); "
            "set NER_EDGE_CACHE to a writable folder"
        ) from None
    return folder
