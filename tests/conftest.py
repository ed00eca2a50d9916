"""Fixtures that several rooms' tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def base_gguf() -> Path:
    """The real small model's base; downloaded once."""
    from ner_edge.models import default_base

    return default_base()
