"""Where files made on this machine are kept."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_dir() -> Path:
    """The user's cache folder for ner-edge, created if needed; `NER_EDGE_CACHE` overrides it."""
    override = os.environ.get("NER_EDGE_CACHE")
    path = Path(override) if override else user_cache_path("ner-edge", appauthor=False)
    path.mkdir(parents=True, exist_ok=True)
    return path
