"""JSON and TOML from elsewhere, as values of a known type: sizes are checked before they are
parsed, types and ranges while they are.

A type is anything msgspec knows: https://msgspec.dev/supported-types.html, with ranges as
https://msgspec.dev/constraints.html.
"""

import re
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from ner_edge.errors import ModelError, NerEdgeError
from ner_edge.inputs import encoding_of, read_input

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
    *,
    limit: int = MEGABYTE,
    error: type[NerEdgeError] = ModelError,
) -> Value:
    """The `kind` in a JSON file of at most `limit` bytes. Raises `error` naming the file, and what
    in it is wrong."""
    return parse_json(read_input(path, limit, error=error), kind, str(path), error=error)


def parse_json(
    data: bytes | str, kind: type[Value], where: str, *, error: type[NerEdgeError] = ModelError
) -> Value:
    """The `kind` written as JSON. Raises `error` saying `where` it stands."""
    try:
        if isinstance(data, bytes) and encoding_of(data[:4]) != "utf-8":
            data = data.decode(encoding_of(data[:4]))
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as problem:
        raise error(f"{where}: {_plain(problem)}") from None
    except RecursionError:
        raise error(f"{where}: not JSON that can be read (nested too deeply)") from None
    except (msgspec.DecodeError, UnicodeError) as problem:
        raise error(f"{where}: not JSON ({problem})") from None


def read_toml(path: Path, kind: type[Value], *, error: type[NerEdgeError]) -> Value:
    """The `kind` in a TOML file. Raises `error` naming the file, and what in it is wrong."""
    data = read_input(path, _TOML_LIMIT, error=error)
    try:
        text = data.decode(encoding_of(data[:4]))
        if _LONG_KEY.search(text):
            raise error(f"{path}: not TOML that can be read (a key has more than 32 parts)")
        return msgspec.convert(tomllib.loads(text), kind)
    except msgspec.ValidationError as problem:
        raise error(f"{path}: {_plain(problem)}") from None
    except RecursionError:
        raise error(f"{path}: not TOML that can be read (nested too deeply)") from None
    except (ValueError, OverflowError) as problem:
        raise error(f"{path}: not TOML ({problem})") from None


def _plain(problem: msgspec.ValidationError) -> str:
    """msgspec's sentence, with `$.task.labels` as `task.labels`."""
    return str(problem).replace(" - at `$.", " at `").replace(" - at `$", " at `")
