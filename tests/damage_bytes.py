"""Damage to any file, whatever its format, as disks, networks and editors do it."""

from collections.abc import Callable
from functools import wraps
from random import Random
from typing import TypeVar

Mutator = Callable[[Random, bytes], tuple[bytes, str]]
"""Takes a file's bytes; returns damaged bytes and a description of the damage."""


Parts = TypeVar("Parts")


def changing(
    parse: Callable[[bytes], Parts], write: Callable[[Parts], bytes]
) -> Callable[[Callable[[Random, Parts], str]], Mutator]:
    """Decorate a function that changes the parts of a file and describes the change."""

    def decorate(change: Callable[[Random, Parts], str]) -> Mutator:
        @wraps(change)
        def mutate(source: Random, data: bytes) -> tuple[bytes, str]:
            parts = parse(data)
            what = change(source, parts)
            return write(parts), what

        return mutate

    return decorate


def _cut(source: Random, data: bytes, longest: int = 200) -> tuple[int, int]:
    start = source.randrange(len(data) + 1)
    return start, min(len(data), start + source.randint(1, longest))


def flip_bits(source: Random, data: bytes) -> tuple[bytes, str]:
    changed = bytearray(data)
    places = [
        source.randrange(len(data) * 8) for _ in range(source.choice((1, 1, 2, 8)) if data else 0)
    ]
    for place in places:
        changed[place // 8] ^= 1 << place % 8
    return bytes(changed), f"bits {places}"


def set_bytes(source: Random, data: bytes) -> tuple[bytes, str]:
    """Overwrite a run of bytes with random ones."""
    start, end = _cut(source, data)
    return data[:start] + source.randbytes(end - start) + data[end:], f"bytes {start} to {end}"


def zero_bytes(source: Random, data: bytes) -> tuple[bytes, str]:
    """Set a run of bytes to zeros or ones, like a block that was never written."""
    start, end = _cut(source, data, 4096)
    value = source.choice((b"\0", b"\xff"))
    return data[:start] + value * (end - start) + data[end:], f"bytes {start} to {end}: {value!r}"


def truncate(source: Random, data: bytes) -> tuple[bytes, str]:
    end = source.choice(
        (source.randrange(len(data) + 1), max(0, len(data) - source.randint(1, 40)))
    )
    return data[:end], f"to {end} bytes"


def insert_bytes(source: Random, data: bytes) -> tuple[bytes, str]:
    start = source.randrange(len(data) + 1)
    count = source.choice((1, 2, 8, 100))
    return data[:start] + source.randbytes(count) + data[start:], f"{count} at {start}"


def delete_bytes(source: Random, data: bytes) -> tuple[bytes, str]:
    start, end = _cut(source, data)
    return data[:start] + data[end:], f"{start} to {end}"


def duplicate_block(source: Random, data: bytes) -> tuple[bytes, str]:
    start, end = _cut(source, data, 2000)
    return data[:end] + data[start:end] + data[end:], f"{start} to {end}"


def swap_blocks(source: Random, data: bytes) -> tuple[bytes, str]:
    start, end = _cut(source, data, 2000)
    middle = (start + end) // 2
    changed = data[:start] + data[middle:end] + data[start:middle] + data[end:]
    return changed, f"{start} to {middle} and to {end}"


def append(source: Random, data: bytes) -> tuple[bytes, str]:
    """Append the file itself, zeros, or a few characters."""
    more = source.choice((data, b"\0" * 1000, b"x", b"\r\n"))
    return data + more, f"{len(more)} bytes"


def other_file(source: Random, data: bytes) -> tuple[bytes, str]:
    """Replace the file with the beginning of another kind of file."""
    heads = (
        *(b"", b"\n", b"\xff\xfe", b"PK\x03\x04", b"\x80\x04\x95", b"GGUF", b"<!DOCTYPE html>\n"),
        b"\x7fELF",
    )
    head = source.choice(heads)
    return head, repr(head)


BLIND: list[Mutator] = [
    *(flip_bits, set_bytes, zero_bytes, truncate, insert_bytes, delete_bytes, duplicate_block),
    *(swap_blocks, append, other_file),
]
