"""Read safetensors with numpy alone, which has no bf16, some rows at a time.

The file is not memory-mapped: mapped pages count as memory of this process, and it would crash if
the file shrank.

Format: https://github.com/huggingface/safetensors#format.
"""

from io import SEEK_END
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Annotated, BinaryIO, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.files.inputs import open_input

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_MAX_HEADER = 100_000_000  # bytes, as in safetensors itself


class Entry(NamedTuple):
    """A tensor's place in the file; `dtype` is safetensors' name, such as `BF16`."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile:
    """The tensors and metadata of one file. Raises `ModelError` if it is damaged or incomplete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open_input(path, error=ModelError) as file:
                self.entries, self.metadata = _read_header(file)
        except (OSError, ValueError, RecursionError) as error:  # msgspec's are ValueErrors
            raise ModelError(
                f"{path}: damaged or incomplete safetensors file ({error}); fetch it again"
            ) from None

    def check_floats(self) -> None:
        """Raise `ModelError` if a tensor does not hold plain floats."""
        for name, entry in self.entries.items():
            if entry.dtype not in _BYTES:
                raise ModelError(
                    f"{self.path}: tensor {name} has type {entry.dtype}; "
                    f"only {', '.join(_BYTES)} can be read"
                )

    def float32(self, name: str, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Return a tensor of plain floats, or part of its first axis, in a fresh array.

        Raises `ModelError` if the file was removed or truncated.
        """
        entry = self.entries[name]
        length = (entry.shape[0] if end is None else end) - start
        item, width = _BYTES[entry.dtype], prod(entry.shape[1:])
        dtype = np.dtype("<u2" if entry.dtype == "BF16" else f"<f{item}")
        offset = entry.offset + start * width * item
        try:
            raw = np.fromfile(self.path, dtype, length * width, offset=offset)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read ({error.strerror})") from None
        if raw.size != length * width:
            raise ModelError(
                f"{self.path}: ends before tensor {name}; it has changed since it was opened"
            )
        if entry.dtype == "BF16":
            bits = raw.astype(np.uint32)
            bits <<= 16
            values = bits.view(np.float32)
        else:
            values = raw.astype(np.float32, copy=False)
        return values.reshape(length, *entry.shape[1:])


class _Fields(msgspec.Struct):
    dtype: str
    shape: list[Annotated[int, Meta(ge=1, lt=1 << 48)]]
    data_offsets: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]]


def _read_header(file: BinaryIO) -> tuple[dict[str, Entry], dict[str, str]]:
    size = file.seek(0, SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    start = 8 + length
    if size < 8 or start > size:
        raise ValueError("it ends inside its header")
    if length > _MAX_HEADER:
        raise ValueError(f"its header has {length} bytes")
    header = msgspec.json.decode(file.read(length), type=dict[str, msgspec.Raw])
    raw_metadata = header.pop("__metadata__", b"null")
    metadata = msgspec.json.decode(raw_metadata, type=dict[str, str] | None) or {}
    entries, spans = {}, []
    for name, raw in header.items():
        fields = msgspec.json.decode(raw, type=_Fields)
        first, last = fields.data_offsets
        if start + last > size:
            raise ValueError(f"it ends before tensor {name}")
        width = _BYTES.get(fields.dtype)
        shape = tuple(fields.shape)
        if width is not None and last - first != width * prod(shape):
            raise ValueError(f"tensor {name} has the wrong size")
        entries[name] = Entry(fields.dtype, shape, start + first)
        spans.append((first, last, name))
    spans.sort()
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            raise ValueError(f"tensors {one} and {other} overlap")
    return entries, metadata
