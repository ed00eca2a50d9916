"""Every module imports only the rooms that docs/architecture.md allows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("train", "export", "runtime", "eval")  # beside ner_edge/, but inside once installed
SINGLE = ("errors", "builtin", "stored", "tagger", "__init__", "__main__")  # modules that are rooms


def allowed_imports() -> dict[str, set[str]]:
    """The table in docs/architecture.md: the rooms that each room may import."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.+) \|$", text, re.MULTILINE)
    table = {room: set(re.findall(r"`(\w+)`", rooms)) for room, rooms in rows}
    everything = {room for room, rooms in rows if rooms == "everything"}
    return {
        room: rooms | {room} | (set(table) if room in everything else set())
        for room, rooms in table.items()
    }


def room_of(module: str) -> str:
    """`ner_edge.export.plan` → `export`; `ner_edge.spans` → `core`."""
    name = module.split(".")[1]
    is_folder = name in FOLDERS or (ROOT / "ner_edge" / name).is_dir()
    return name if is_folder or name in SINGLE else "core"


def imported(source: str) -> Iterator[str]:
    """The modules of ner_edge that a module's source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("ner_edge."))
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError("relative imports hide the room: write them in full")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ner_edge":
            whole = node.module == "ner_edge"  # `from ner_edge import spans`, or `__version__`
            yield from (f"ner_edge.{a.name}" for a in node.names) if whole else [str(node.module)]


def forbidden(module: str, source: str, table: dict[str, set[str]]) -> list[str]:
    """What `module` imports against the table."""
    room = room_of(module)
    allowed = table.get(room, set(table))  # __init__ and __main__ open the front door
    return [name for name in imported(source) if room_of(name) not in allowed]


def modules() -> dict[str, Path]:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    package = [p for p in (ROOT / "ner_edge").rglob("*.py") if p.parts[-2] not in FOLDERS]
    inside = {path: path.relative_to(ROOT) for path in package if "tasks" not in path.parts}
    names = {path: path.relative_to(ROOT / "ner_edge") for path in inside}
    names |= {path: path.relative_to(ROOT) for path in paths}
    return {f"ner_edge.{'.'.join(name.with_suffix('').parts)}": p for p, name in names.items()}


def test_every_room_imports_only_what_the_table_allows():
    table = allowed_imports()
    wrong = {
        name: found
        for name, path in modules().items()
        if (found := forbidden(name, path.read_text(), table))
    }
    assert not wrong


def test_every_room_is_in_the_table():
    rooms = {room_of(name) for name in modules()} - {"__init__", "__main__"}
    assert rooms == set(allowed_imports())


@pytest.mark.parametrize(
    ("module", "planted"),
    [
        ("ner_edge.runtime.engine", "from ner_edge.export.pipeline import export_model"),
        ("ner_edge.runtime.engine", "def f():\n    from ner_edge.models import resolve"),
        ("ner_edge.spans", "import ner_edge.gguf.file"),
        ("ner_edge.export.plan", "from ner_edge import tagger"),
    ],
)
def test_a_planted_import_is_found(module, planted):
    source = modules()[module].read_text()
    assert forbidden(module, f"{source}\n{planted}\n", allowed_imports())


def test_a_room_imports_only_rooms_above_it_in_the_table():
    above: set[str] = set()
    for room, rooms in allowed_imports().items():
        assert rooms - {room} <= above, room
        above.add(room)
