"""Offline mode, in which nothing is downloaded."""

import os

from ner_edge.errors import ModelError

_TRUE = {"1", "on", "yes", "true"}  # as huggingface_hub reads its variables


def go_offline() -> None:
    """Forbid downloads in this process and those it starts, to the hub's libraries, too.

    To be called before those are imported.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"


def is_offline() -> bool:
    """Whether `NER_EDGE_OFFLINE` or `HF_HUB_OFFLINE` forbids downloads."""
    ours, hub = os.environ.get("NER_EDGE_OFFLINE"), os.environ.get("HF_HUB_OFFLINE")
    return any((value or "").lower() in _TRUE for value in (ours, hub))


def check_online(name: str) -> None:
    """Raise `ModelError`, which says how to get the model `name`, if downloads are forbidden."""
    if is_offline():
        raise ModelError(
            f"{name} is not on this machine, and --offline, NER_EDGE_OFFLINE or HF_HUB_OFFLINE "
            f"forbids to download it; run `ner-edge models pull {name}` without them"
        )
