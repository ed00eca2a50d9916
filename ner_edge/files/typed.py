"""Read JSON and TOML as values of a known type; sizes, types and ranges are checked.

A type is any that msgspec supports (https://msgspec.dev/supported-types.html), with constraints
(https://msgspec.dev/constraints.html).
"""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from ner_edge.errors import ModelError, NerEdgeError
from ner_edge.files.inputs import encoding_of, read_input

MEGABYTE = 1_000_000
_TOML_LIMIT = MEGABYTE
# tomllib takes quadratic time for a key of many parts: 14 s for 20 000.
_LONG_KEY = re.compile(
    r"""(?<![\w-]) (?: (?: [\w-]++ | "[^"\n]*+" | '[^'\n]*+' ) [ \t]*+ \. [ \t]*+ ){32}""",
    re.VERBOSE,
)

Value = TypeVar("Value")


def read_json(
    path: Path,
    kind: type[Value],
    what: str,
    *,
    limit: int = MEGABYTE,
    error: type[NerEdgeError] = ModelError,
) -> Value:
    """Read a JSON file of at most `limit` bytes as a `kind`.

    Raises `error`, which says that the file is not `what` (such as `a task`), and why.
    """
    return parse_json(read_input(path, limit, error=error), kind, what, str(path), error=error)


def parse_json(
    data: bytes | str,
    kind: type[Value],
    what: str,
    where: str,
    *,
    error: type[NerEdgeError] = ModelError,
) -> Value:
    """Parse JSON as a `kind`. Raises `error`, which says that `where` is not `what`, and why."""
    try:
        if isinstance(data, bytes) and encoding_of(data[:4]) != "utf-8":
            data = data.decode(encoding_of(data[:4]))
        value: Value = msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as problem:  # msgspec's errors are ValueErrors
        raise error(f"{where}: not {what} ({_reason(problem)})") from None
    return value


def read_toml(path: Path, kind: type[Value], what: str, *, error: type[NerEdgeError]) -> Value:
    """Read a TOML file as a `kind`. Raises `error`, which says that it is not `what`, and why."""
    data = read_input(path, _TOML_LIMIT, error=error)
    try:
        text = data.decode(encoding_of(data[:4]))
        if _LONG_KEY.search(text):
            raise ValueError("a key has more than 32 parts")
        value: Value = msgspec.convert(tomllib.loads(text), kind)
    except (ValueError, RecursionError) as problem:
        raise error(f"{path}: not {what} ({_reason(problem)})") from None
    return value


def _reason(problem: Exception) -> str:
    if isinstance(problem, RecursionError):
        return "nested too deeply"
    # `$.task.labels` becomes `task.labels`.
    text = str(problem).replace(" - at `$.", " at `").replace(" - at `$", " at `")
    return text.partition("\n")[0]
