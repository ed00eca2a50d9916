"""Damage to safetensors: a header of JSON that lies about what is behind it.

Format: https://github.com/huggingface/safetensors#format
"""

import json
from random import Random
from typing import Any

from damage_bytes import Mutator
from damage_json import JSON_KINDS


def parse_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a whole file."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), data[start:]


def safetensors_bytes(header: Any, body: bytes) -> bytes:
    """A file with this header, as a table or as it is written."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def _entry(source: Random, header: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return source.choice(
        [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    )


def header_length(source: Random, data: bytes) -> tuple[bytes, str]:
    """The header is said to be longer or shorter, by little or by exabytes."""
    old = int.from_bytes(data[:8], "little")
    new = source.choice(
        (0, 1, 2, old - 1, old + 1, old + 8, len(data), 10**9, 2**62, 2**63, 2**64 - 1)
    )
    return new.to_bytes(8, "little") + data[8:], f"{old} -> {new}"


def header_json(source: Random, data: bytes) -> tuple[bytes, str]:
    """The header is damaged JSON."""
    header, body = parse_safetensors(data)
    kind = source.choice(JSON_KINDS)
    changed, what = kind(source, json.dumps(header).encode())
    return safetensors_bytes(changed, body), f"{kind.__name__}: {what}"


def offsets(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor lies elsewhere: over another, before the start, behind the end, backwards."""
    header, body = parse_safetensors(data)
    name, entry = _entry(source, header)
    first, last = entry["data_offsets"]
    size = last - first
    entry["data_offsets"] = source.choice(
        (
            *([0, size], [last, first], [-size, 0], [first + 1, last + 1], [first, last + 4]),
            *([0, 0], [len(body), len(body) + size], [2**63, 2**63 + size]),
            *([10**400, 10**400 + size], [first], [first, last, last], [], None, "x"),
            *([str(first), str(last)], [1.5, 1.5 + size], [True, size + 1], [None, None]),
            *({"0": first}, [-(2**70), size - 2**70]),
        )
    )
    return safetensors_bytes(header, body), f"{name}: {str(entry['data_offsets'])[:60]}"


def dtype(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor is said to be of another type."""
    header, body = parse_safetensors(data)
    name, entry = _entry(source, header)
    kinds = (
        *("F64", "F32", "F16", "BF16", "I32", "I8", "BOOL", "F8_E4M3", "f32", "", None, 3, []),
        {},
    )
    entry["dtype"] = source.choice(kinds)
    if source.random() < 0.3:  # all of them, and no size contradicts it
        for _, other in header.items():
            other["dtype"] = {4: "I32", 2: "I16"}.get(4, "I32")
    return safetensors_bytes(header, body), f"{name}: {entry['dtype']}"


def shape(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor has another shape, of the same size or not."""
    header, body = parse_safetensors(data)
    name, entry = _entry(source, header)
    old = entry["shape"]
    entry["shape"] = source.choice(
        (
            *([], [0], old[::-1], [*old, 1], [1, *old], [-side for side in old], [10**400]),
            *([2**32, 2**32], [*old[:-1], old[-1] + 1], [str(side) for side in old]),
            *([float(s) for s in old], None, "x", 3, [None], [[2]], [True, *old], [0, 2**70]),
            *([10**9, 0], [*old[:-1], 0], [1] * 100 + old),
        )
    )
    if isinstance(entry["shape"], list) and 0 in entry["shape"]:
        entry["data_offsets"][1] = entry["data_offsets"][0]
    return safetensors_bytes(header, body), f"{name}: {old} -> {str(entry['shape'])[:60]}"


def names(source: Random, data: bytes) -> tuple[bytes, str]:
    """A tensor has another name, stands twice, or is missing."""
    header, body = parse_safetensors(data)
    name, entry = _entry(source, header)
    other, _ = _entry(source, header)
    change = source.choice(("swap", "missing", "twice", "odd", "layer"))
    text = json.dumps(header)
    if change == "swap":
        header[name], header[other] = header[other], entry
    elif change == "missing":
        del header[name]
    elif change == "twice":
        return safetensors_bytes(
            f'{text[:-1]}, "{name}": {json.dumps(header[other])}}}'.encode(), body
        ), name
    elif change == "odd":
        odd = (
            *("", "\x1b[2J", "\ud800", "x" * 10_000, "__metadata__", name + "\n", "\u202e"),
            "lm_head.weight",
        )
        header[source.choice(odd)] = header.pop(name)
    else:
        far = source.choice(("99", "-1", "1e9", "9" * 5000, "x"))
        header[name.replace(".0.", f".{far}.").replace(".1.", f".{far}.")] = header.pop(name)
    return safetensors_bytes(header, body), f"{change}: {name}"


def metadata(source: Random, data: bytes) -> tuple[bytes, str]:
    """What the file says of itself is no table of texts."""
    header, body = parse_safetensors(data)
    value = source.choice(
        (None, 3, [], "x", {"format": 3}, {"format": "tf"}, {"format": None}, {"a": {}})
    )
    header["__metadata__"] = value
    return safetensors_bytes(header, body), str(value)


def values(source: Random, data: bytes) -> tuple[bytes, str]:
    """Weights are not numbers, infinite, or all zero."""
    header, body = parse_safetensors(data)
    value = source.choice(
        (b"\x00\x7e\xc0\x7f", b"\x00\x7c\x80\x7f", b"\0" * 4, b"\xff\x7b\x7f\x7f")
    )
    count = source.choice((1, 100, len(body) // 4))
    start = source.randrange(max(1, len(body) // 4 - count + 1)) * 4
    return safetensors_bytes(
        header, body[:start] + value * count + body[start + 4 * count :]
    ), f"{count} times {value!r} at {start}"


SAFETENSORS_KINDS: list[Mutator] = [
    header_length,
    header_json,
    offsets,
    dtype,
    shape,
    names,
    metadata,
    values,
]
