"""Damage to safetensors, mostly to the header of JSON that describes the tensors.

Format: https://github.com/huggingface/safetensors#format
"""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from damage_bytes import Mutator, changing
from damage_json import JSON_KINDS


@dataclass
class Safetensors:
    """A file taken apart; a header of bytes is written as it is."""

    header: Any
    body: bytes

    def entry(self, source: Random) -> tuple[str, dict[str, Any]]:
        """Choose a tensor; return its name and its entry in the header."""
        names = [name for name in self.header if name != "__metadata__"]
        name = source.choice(names)
        return name, self.header[name]


def parse_safetensors(data: bytes) -> Safetensors:
    """Take an undamaged file apart."""
    start = 8 + int.from_bytes(data[:8], "little")
    return Safetensors(json.loads(data[8:start]), data[start:])


def safetensors_bytes(file: Safetensors) -> bytes:
    """Put a file together again."""
    is_text = isinstance(file.header, bytes)
    text = file.header if is_text else json.dumps(file.header).encode()
    return len(text).to_bytes(8, "little") + text + file.body


on_parts = changing(parse_safetensors, safetensors_bytes)


def header_length(source: Random, data: bytes) -> tuple[bytes, str]:
    """Declare a longer or shorter header, by little or by exabytes."""
    old = int.from_bytes(data[:8], "little")
    new = source.choice(
        (0, 1, 2, old - 1, old + 1, old + 8, len(data), 10**9, 2**62, 2**63, 2**64 - 1)
    )
    return new.to_bytes(8, "little") + data[8:], f"{old} -> {new}"


@on_parts
def header_json(source: Random, file: Safetensors) -> str:
    """Damage the JSON of the file.header."""
    kind = source.choice(JSON_KINDS)
    file.header, what = kind(source, json.dumps(file.header).encode())
    return f"{kind.__name__}: {what}"


@on_parts
def offsets(source: Random, file: Safetensors) -> str:
    """Move a tensor: over another, before the start, past the end, backwards."""
    name, entry = file.entry(source)
    first, last = entry["data_offsets"]
    length, size = last - first, len(file.body)
    entry["data_offsets"] = source.choice(
        (
            *([0, length], [last, first], [-length, 0], [first + 1, last + 1], [first, last + 4]),
            *([0, 0], [size, size + length], [2**63, 2**63 + length]),
            *([10**400, 10**400 + length], [first], [first, last, last], [], None, "x"),
            *([str(first), str(last)], [1.5, 1.5 + length], [True, length + 1], [None, None]),
            *({"0": first}, [-(2**70), length - 2**70]),
        )
    )
    return f"{name}: {str(entry['data_offsets'])[:60]}"


@on_parts
def dtype(source: Random, file: Safetensors) -> str:
    """Declare another type for a tensor."""
    name, entry = file.entry(source)
    kinds: tuple[Any, ...] = (
        *("F64", "F32", "F16", "BF16", "I32", "I8", "BOOL", "F8_E4M3", "f32", "", None, 3, []),
        {},
    )
    entry["dtype"] = source.choice(kinds)
    if source.random() < 0.3:  # one type of the same size for all
        for _, other in file.header.items():
            other["dtype"] = "I32"
    return f"{name}: {entry['dtype']}"


@on_parts
def shape(source: Random, file: Safetensors) -> str:
    """Declare another shape, of the same size or not."""
    name, entry = file.entry(source)
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
    return f"{name}: {old} -> {str(entry['shape'])[:60]}"


@on_parts
def names(source: Random, file: Safetensors) -> str:
    """Rename, repeat, remove or swap tensors."""
    name, entry = file.entry(source)
    other, _ = file.entry(source)
    change = source.choice(("swap", "missing", "twice", "odd", "layer"))
    text = json.dumps(file.header)
    if change == "swap":
        file.header[name], file.header[other] = file.header[other], entry
    elif change == "missing":
        del file.header[name]
    elif change == "twice":
        file.header = f'{text[:-1]}, "{name}": {json.dumps(file.header[other])}}}'.encode()
        return name
    elif change == "odd":
        odd = (
            *("", "\x1b[2J", "\ud800", "x" * 10_000, "__metadata__", name + "\n", "\u202e"),
            "lm_head.weight",
        )
        file.header[source.choice(odd)] = file.header.pop(name)
    else:
        far = source.choice(("99", "-1", "1e9", "9" * 5000, "x"))
        file.header[name.replace(".0.", f".{far}.").replace(".1.", f".{far}.")] = file.header.pop(
            name
        )
    return f"{change}: {name}"


@on_parts
def metadata(source: Random, file: Safetensors) -> str:
    """Replace the metadata, which should be a table of texts."""
    value: Any = source.choice(
        (None, 3, [], "x", {"format": 3}, {"format": "tf"}, {"format": None}, {"a": {}})
    )
    file.header["__metadata__"] = value
    return str(value)


@on_parts
def values(source: Random, file: Safetensors) -> str:
    """Overwrite weights with NaN, infinity, or zeros."""
    value = source.choice(
        (b"\x00\x7e\xc0\x7f", b"\x00\x7c\x80\x7f", b"\0" * 4, b"\xff\x7b\x7f\x7f")
    )
    count = source.choice((1, 100, len(file.body) // 4))
    start = source.randrange(max(1, len(file.body) // 4 - count + 1)) * 4
    file.body = file.body[:start] + value * count + file.body[start + 4 * count :]
    return f"{count} times {value!r} at {start}"


SAFETENSORS_KINDS: list[Mutator] = [
    *(header_length, header_json, offsets, dtype, shape),
    *(names, metadata, values),
]
