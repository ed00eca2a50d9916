"""What the package declares: its version, and every library that it imports."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import ner_edge

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> Iterator[str]:
    """The top-level names that the package's modules import, anywhere in them."""
    for room in ("ner_edge", "train", "export", "runtime", "eval"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield node.module.partition(".")[0]


def test_every_library_that_is_imported_is_declared():
    extras = {k: v for k, v in PROJECT["optional-dependencies"].items() if k != "dev"}
    requirements = sum(extras.values(), PROJECT["dependencies"])
    declared = {name_of(requirement) for requirement in requirements}
    owners = packages_distributions()
    libraries = set(imported()) - sys.stdlib_module_names - {"ner_edge"}
    used = {name: {name_of(owner) for owner in owners[name]} for name in libraries}
    undeclared = {name for name, owners in used.items() if not owners & declared}
    assert undeclared == set()
    assert declared - set().union(*used.values()) == set()  # declared in vain


def test_the_version_is_that_of_the_package():
    assert PROJECT["dynamic"] == ["version"]
    assert version("ner-edge") == ner_edge.__version__
