"""A GGUF taken apart and put together again, with parts that no writer would write.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import struct
from dataclasses import dataclass
from typing import Any

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9


@dataclass
class Value:
    """A value in the metadata, and the number of its type."""

    type: int
    value: Any
    items: int = 0
    """Type of an array's items."""


@dataclass
class Tensor:
    """What the header says of a tensor; the first of `dims` is the rows' width."""

    name: bytes
    dims: list[int]
    type: int
    offset: int


@dataclass
class Gguf:
    """A GGUF taken apart. Counts are those of its parts, unless damaged."""

    version: int
    values: list[tuple[bytes, Value]]
    tensors: list[Tensor]
    data: bytes

    def get(self, key: bytes) -> Any:
        return next((value.value for name, value in self.values if name == key), None)

    def put(self, key: bytes, value: Value) -> None:
        kept = [(name, old) for name, old in self.values if name != key]
        self.values = [*kept, (key, value)]


def parse_gguf(data: bytes) -> Gguf:
    """Take a whole file apart."""
    position = 4

    def take(layout: str) -> Any:
        nonlocal position
        (value,) = struct.unpack_from("<" + layout, data, position)
        position += struct.calcsize("<" + layout)
        return value

    def string() -> bytes:
        nonlocal position
        length = take("Q")
        position += length
        return data[position - length : position]

    def value(kind: int) -> Any:
        return string() if kind == STRING else take(SCALARS[kind])

    version, tensor_count, value_count = take("I"), take("Q"), take("Q")
    values = []
    for _ in range(value_count):
        key, kind = string(), take("I")
        if kind == ARRAY:
            items, length = take("I"), take("Q")
            values.append((key, Value(kind, [value(items) for _ in range(length)], items)))
        else:
            values.append((key, Value(kind, value(kind))))
    tensors = []
    for _ in range(tensor_count):
        name = string()
        dims = [take("Q") for _ in range(take("I"))]
        tensors.append(Tensor(name, dims, take("I"), take("Q")))
    return Gguf(version, values, tensors, data[-(-position // 32) * 32 :])


def gguf_bytes(gguf: Gguf, extra_tensors: int = 0, extra_values: int = 0) -> bytes:
    """A file of these parts, whose header counts so many more than there are."""

    def number(layout: str, value: float) -> bytes:
        if layout in "fd":
            try:
                return struct.pack("<" + layout, value)
            except OverflowError:
                return struct.pack("<" + layout, math.inf)
        size = struct.calcsize(layout)
        if layout == "?":
            return bytes([int(value) & 0xFF])
        number: int = int(value) & (256**size - 1)
        return number.to_bytes(size, "little")

    def string(text: bytes) -> bytes:
        return number("Q", len(text)) + text

    def value(kind: int, item: Any) -> bytes:
        return string(item) if kind == STRING else number(SCALARS[kind], item)

    parts = [b"GGUF", number("I", gguf.version), number("Q", len(gguf.tensors) + extra_tensors)]
    parts.append(number("Q", len(gguf.values) + extra_values))
    for key, held in gguf.values:
        parts += [string(key), number("I", held.type)]
        if held.type == ARRAY:
            parts += [number("I", held.items), number("Q", len(held.value))]
            parts += [value(held.items, item) for item in held.value]
        else:
            parts.append(value(held.type, held.value))
    for tensor in gguf.tensors:
        parts += [string(tensor.name), number("I", len(tensor.dims))]
        parts += [number("Q", dim) for dim in tensor.dims]
        parts += [number("I", tensor.type), number("Q", tensor.offset)]
    head = b"".join(parts)
    return head + b"\0" * (-len(head) % 32) + gguf.data
