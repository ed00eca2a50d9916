"""Rewrite a GGUF file: weights in types without AMX kernels in llama.cpp become q8_0.

Nothing is lost: a block of q5_0 or iq4_nl is a 16-bit scale and 32 integers of at most 8 bits, and
a block of q8_0 is the same with 8 bits for each integer.
"""

import struct
from collections.abc import Callable, Iterator
from math import prod
from typing import BinaryIO

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import IQ4_NL
from numpy.typing import NDArray

from ner_edge.gguf.file import GGUFFile, TensorInfo

Blocks = NDArray[np.uint8]
_Q8_0 = GGMLQuantizationType.Q8_0
_WEIGHTS, _Q8_0_BYTES = GGML_QUANT_SIZES[_Q8_0]
_IQ4_NL = np.array(IQ4_NL.kvalues, np.int8)
_SLAB = 1 << 18  # weights, few enough for the processor's cache


def write_widened(file: GGUFFile, out: BinaryIO) -> None:
    """Write `file` to `out`, turning the q5_0 and iq4_nl matrices of its layers into q8_0."""
    tensors = [_widened(info) for info in file.tensors.values()]
    out.write(file.metadata_bytes)
    offset = 0
    for info in tensors:
        out.write(_description(info, offset))
        offset += -(-info.nbytes // file.alignment) * file.alignment
    for info in tensors:
        out.write(bytes(-out.tell() % file.alignment))
        for slab in _slabs(file, info):
            out.write(slab.data)


def is_widened(info: TensorInfo) -> bool:
    """Whether `write_widened` changes the type of this tensor."""
    return info.type in _INTEGERS and info.name.startswith("blk.")


def _widened(info: TensorInfo) -> TensorInfo:
    if not is_widened(info):
        return info
    return info._replace(type=_Q8_0, nbytes=prod(info.shape) // _WEIGHTS * _Q8_0_BYTES)


def _description(info: TensorInfo, offset: int) -> bytes:
    name = info.name.encode()
    dimensions = len(info.shape)
    return struct.pack(
        f"<Q{len(name)}sI{dimensions}QIQ",
        len(name),
        name,
        dimensions,
        *reversed(info.shape),
        info.type,
        offset,
    )


def _slabs(file: GGUFFile, info: TensorInfo) -> Iterator[Blocks]:
    stored = file.tensors[info.name].type
    count = prod(info.shape[:-1])
    rows = max(1, _SLAB // info.shape[-1])
    for start in range(0, count, rows):
        raw = file.raw_rows(info.name, start, min(start + rows, count))
        if stored == info.type:
            yield raw
            continue
        blocks = raw.reshape(-1, GGML_QUANT_SIZES[stored][1])
        wide = np.empty((len(blocks), _Q8_0_BYTES), np.uint8)
        wide[:, :2] = blocks[:, :2]
        wide[:, 2:] = _INTEGERS[stored](blocks[:, 2:]).view(np.uint8)
        yield wide


def _q5_0_integers(blocks: Blocks) -> NDArray[np.int8]:
    fifth_bits = np.unpackbits(blocks[:, :4], axis=1, bitorder="little")
    return (_halves(blocks[:, 4:]) | fifth_bits << 4).view(np.int8) - np.int8(16)


def _iq4_nl_integers(blocks: Blocks) -> NDArray[np.int8]:
    return _IQ4_NL[_halves(blocks)]


def _halves(blocks: Blocks) -> Blocks:
    """The lower four bits of all bytes, then the upper four."""
    return np.concatenate((blocks & 15, blocks >> 4), axis=1)


_INTEGERS: dict[GGMLQuantizationType, Callable[[Blocks], NDArray[np.int8]]] = {
    GGMLQuantizationType.Q5_0: _q5_0_integers,
    GGMLQuantizationType.IQ4_NL: _iq4_nl_integers,
}
