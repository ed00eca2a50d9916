"""Damage to JSON: wrong contents, and text that parsers stumble over."""

import json
from random import Random
from typing import Any

from damage_bytes import Mutator, changing

_MARK = "\x00mark\x00"
RAW_VALUES = (
    *("null", "true", "false", "0", "1", "-1", "0.5", "-0.0", "1e-320", "1e400", "NaN"),
    *("-Infinity", "1000000000", "2147483648", "18446744073709551616", "9" * 400),
    *("-" + "9" * 5000, "1" + "0" * 400, "[]", "{}", '[""]', '{"":""}', "[[]]", '""', '" "'),
    *('"x"', '"1"', '"null"', '"\\u0000"', "[1,2]", '"\\ud800"', '"\\udc00\\ud800"'),
    *('"\\u001b[2J\\u001b]0;x\\u0007"', '"\\u202ex"', '"a\\nb"', '"../../x"', '"/dev/zero"'),
    *('"' + "x" * 100_000 + '"', "[" * 1000 + "]" * 1000, "tru", "'x'"),
    *('{"a":' * 50_000 + "1" + "}" * 50_000, "[" * 100_000, '{"x":[{"y":null}]}'),
)
_DOCUMENTS = (
    *("", " ", "null", "true", "0", "[]", "{}", '""', "[{}]", "{", "}", '{"a":1}}', "{'a':1}"),
    *("[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "9" * 5000, "NaN", '"\\ud800"'),
    *("\0", '{"a":1,"a":2}'),
)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every container in a document with each of its keys."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in items:
        found.append((value, key))
        if isinstance(child, dict | list):
            found += _places(child)[:200]  # or nearly every change would hit the vocabulary
    return found


def _pick(source: Random, document: Any) -> tuple[Any, Any]:
    """Choose a container and one of its keys, often at the top."""
    top = [(document, key) for key in document]
    return source.choice(top if source.random() < 0.4 else _places(document))


def load_object(data: bytes) -> Any:
    """Return the JSON object in `data`, or a small object if it holds anything else."""
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    return document if isinstance(document, dict) and document else {"name": "x"}


def dump_object(document: Any) -> bytes:
    """Write JSON in lines."""
    return json.dumps(document, indent=1).encode()


on_object = changing(load_object, dump_object)


def other_value(source: Random, data: bytes) -> tuple[bytes, str]:
    """Replace a value with one of any type, or with text that is not JSON."""
    document = load_object(data)
    holder, key = _pick(source, document)
    holder[key] = _MARK
    raw = source.choice(RAW_VALUES)
    return dump_object(document).replace(
        json.dumps(_MARK).encode(), raw.encode()
    ), f"{key} -> {raw[:40]}"


def near_number(source: Random, data: bytes) -> tuple[bytes, str]:
    """Replace a number with a plausible one."""
    document = load_object(data)
    numbers = [
        (holder, key)
        for holder, key in _places(document)
        if isinstance(holder[key], int | float) and not isinstance(holder[key], bool)
    ]
    if not numbers:
        return other_value(source, data)
    holder, key = source.choice(numbers)
    old = holder[key]
    holder[key] = source.choice(
        (old + 1, old - 1, old * 2, old // 2, -old, old + 0.5, old * 10**6, 0)
    )
    return dump_object(document), f"{key}: {old} -> {holder[key]}"


@on_object
def remove_key(source: Random, document: Any) -> str:
    holder, key = _pick(source, document)
    del holder[key]
    return str(key)


@on_object
def rename_key(source: Random, document: Any) -> str:
    """Rename a key: empty, very long, half a surrogate pair, with escapes."""
    tables = [(h, k) for h, k in _places(document) if isinstance(h, dict)]
    holder, key = source.choice(tables)
    new = source.choice(
        ("", "\ud800", "\x1b[31m", "x" * 50_000, str(key).upper(), "a.b", "\u202e", "\n")
    )
    holder[new] = holder.pop(key)
    return f"{key} -> {new[:40]!r}"


def add_key(source: Random, data: bytes) -> tuple[bytes, str]:
    """Add an unknown key, thousands of keys, or a key that is there already."""
    document = load_object(data)
    raw = source.choice(RAW_VALUES)
    how = source.choice(("unknown", "many", "twice"))
    key = source.choice(list(document)) if how == "twice" else "unknown"
    more = f'"{key}": {raw}'
    if how == "many":
        more = ",".join(f'"k{i}": {i}' for i in range(5000))
    return dump_object(document).rstrip()[:-1] + f",{more}}}".encode(), f"{how}: {more[:60]}"


def other_encoding(source: Random, data: bytes) -> tuple[bytes, str]:
    """Change the encoding, with or without a byte order mark."""
    name = source.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-le", "latin-1", "cp037"))
    return data.decode("utf-8", "replace").encode(name, "replace"), name


def other_document(source: Random, data: bytes) -> tuple[bytes, str]:
    new = source.choice(_DOCUMENTS)
    return new.encode(), new[:40]


JSON_KINDS: list[Mutator] = [
    *(other_value, near_number, remove_key, rename_key, add_key),
    *(other_encoding, other_document),
]
