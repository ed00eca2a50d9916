"""Fixtures shared by the tests of several rooms."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from ner_edge.task import Task

settings.register_profile("shared machines", deadline=None)
settings.load_profile("shared machines")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this project."""
    parser.addoption("--cluster", action="store_true", help="run the tests on a Ray cluster, too")


@pytest.fixture(scope="session", autouse=True)
def outside_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Run in an empty folder: the checkout holds only a part of the package, and child processes
    must import what is installed."""
    os.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="session")
def base_gguf() -> Path:
    """The base of the default model; downloaded once."""
    from ner_edge.models.resolve import named_base

    return named_base("smollm2")


@dataclass(frozen=True)
class TinyModel:
    """A random model: its folder, its task, and the GGUF exported from both."""

    folder: Path
    gguf: Path
    task: Task


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """A model that runs in milliseconds, and finds entities, if nonsensical ones."""
    from exporting import export_model
    from tiny_models import save_model

    root = tmp_path_factory.mktemp("tiny")
    folder = save_model(
        root / "tiny", hidden_size=32, intermediate_size=48, max_position_embeddings=2048
    )
    task = Task("tiny", {"PER": "person", "LOC": "location"}, "Find entities.")
    (gguf,) = export_model(folder, None, root, ["f16"], task=task)
    return TinyModel(folder, gguf, task)
