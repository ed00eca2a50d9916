"""Damage to a GGUF's header, to its descriptions of tensors, and to their weights."""

import math
import struct
from random import Random

from damage_bytes import Mutator, changing
from gguf_parts import Gguf, gguf_bytes, parse_gguf

_QUANTIZED = (2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 16, 20, 23, 30)  # numbers of ggml's types
_NAMES = (b"", b"\0", b"\xff\xfe\xfd", b"\x1b[2J\x1b]0;x\x07", b"\xed\xa0\x80", b"x" * 100_000)


on_gguf = changing(parse_gguf, gguf_bytes)


@on_gguf
def tensor_type(source: Random, gguf: Gguf) -> str:
    """Declare another type for a tensor, such as a quantized norm."""
    norms = [tensor for tensor in gguf.tensors if b"norm" in tensor.name]
    tensor = source.choice(source.choice((norms or gguf.tensors, gguf.tensors)))
    tensor.type = source.choice((0, 1, *_QUANTIZED, 4, 5, 15, 24, 31, 39, 99, 2**31, 2**32 - 1))
    if source.random() < 0.5:  # give it enough data
        gguf.data += b"\0" * 65536
        tensor.offset = len(gguf.data) - 65536
    return f"{tensor.name.decode()} = {tensor.type}"


@on_gguf
def tensor_shape(source: Random, gguf: Gguf) -> str:
    """Declare other dimensions: none, four, zero, huge, transposed."""
    tensor = source.choice(gguf.tensors)
    dims = tensor.dims
    tensor.dims = source.choice(
        (
            *([], [0], [1, *dims], [*dims, 1, 1][:4], dims[::-1], [dims[0] * 2, *dims[1:]]),
            *([dims[0] // 2 or 1, *dims[1:]], [*dims[:-1], dims[-1] + 1], [*dims[:-1], 0]),
            *([2**63], [2**32, 2**32], [2**31, 2**31, 2**31], [1] * 5, [1] * 200, [2**64 - 1, 2]),
            *([dims[0], 1], [math.prod(dims)], [dims[0] + 32, *dims[1:]]),
        )
    )
    return f"{tensor.name.decode()}: {dims} -> {str(tensor.dims)[:60]}"


@on_gguf
def tensor_offset(source: Random, gguf: Gguf) -> str:
    """Move a tensor: over another, unaligned, past the end, past 2^64."""
    tensor, other = source.choice(gguf.tensors), source.choice(gguf.tensors)
    near = (other.offset, tensor.offset + 32, tensor.offset + 1, max(0, tensor.offset - 32), 0)
    far = (len(gguf.data), len(gguf.data) - 32, 2**40, 2**63, 2**64 - 32, 2**64 - 1)
    before, tensor.offset = tensor.offset, source.choice((source.choice(near), source.choice(far)))
    return f"{tensor.name.decode()}: {before} -> {tensor.offset}"


@on_gguf
def tensor_name(source: Random, gguf: Gguf) -> str:
    """Rename a tensor: like another, empty, too long, not UTF-8, with escapes."""
    tensor, other = source.choice(gguf.tensors), source.choice(gguf.tensors)
    layered = tensor.name.replace(b"blk.1", b"blk.10").replace(b"blk.0", b"blk.-1")
    names = (other.name, layered, tensor.name + b"x", b"rope_freqs.weight", *_NAMES)
    before, tensor.name = tensor.name, source.choice(names)
    return f"{before.decode()} -> {tensor.name[:40]!r}"


@on_gguf
def tensor_list(source: Random, gguf: Gguf) -> str:
    """Remove a tensor or all, repeat one, or shuffle them."""
    change = source.choice(("missing", "twice", "shuffle", "none"))
    index = source.randrange(len(gguf.tensors))
    name = gguf.tensors[index].name.decode()
    if change == "missing":
        del gguf.tensors[index]
    elif change == "twice":
        gguf.tensors.append(gguf.tensors[index])
    elif change == "shuffle":
        source.shuffle(gguf.tensors)
    else:
        gguf.tensors = []
    return f"{change} {name}"


def header_counts(source: Random, data: bytes) -> tuple[bytes, str]:
    """Declare more or fewer tensors or values than there are."""
    extra = source.choice((1, -1, -5, 10**6, 2**31, 2**62, 2**63))
    tensors = source.random() < 0.5
    gguf = parse_gguf(data)
    changed = gguf_bytes(gguf, extra if tensors else 0, 0 if tensors else extra)
    return changed, f"{'tensors' if tensors else 'values'} {extra:+}"


def version(source: Random, data: bytes) -> tuple[bytes, str]:
    """Declare another version of the format, or a big-endian file."""
    new = source.choice((0, 1, 2, 4, 2**31, 0x03000000))
    return data[:4] + struct.pack("<I", new) + data[8:], str(new)


def length_field(source: Random, data: bytes) -> tuple[bytes, str]:
    """Declare a longer text or list in the header, by little or by exabytes."""
    gguf = parse_gguf(data)
    key, _ = source.choice(gguf.values)
    position = data.index(struct.pack("<Q", len(key)) + key)
    if source.random() < 0.7:
        position += 8 + len(key) + 4  # the value's own length, if it has one
    new = source.choice((0, 1, 10**5, 2**31, 2**40, 2**63, 2**64 - 1, 2**64 - position))
    return data[:position] + struct.pack("<Q", new) + data[position + 8 :], f"{key.decode()}: {new}"


@on_gguf
def weights(source: Random, gguf: Gguf) -> str:
    """Overwrite weights with NaN, infinity, huge numbers, or zeros."""
    tensor = source.choice(gguf.tensors)
    value = source.choice(
        (b"\x00\x7e\xc0\x7f", b"\x00\x7c\x00\x7c", b"\0" * 4, b"\xff\x7b\xff\x7b")
    )
    start, count = tensor.offset, source.choice((4, 64, 4096)) // 4
    gguf.data = gguf.data[:start] + value * count + gguf.data[start + 4 * count :]
    return f"{tensor.name.decode()}: {count} times {value!r}"


TENSOR_KINDS: list[Mutator] = [
    *(tensor_type, tensor_shape, tensor_offset, tensor_name, tensor_list, header_counts, version),
    *(length_field, weights),
]
