"""Read safetensors, any rows at a time, with numpy alone (which has no bf16 of its own).

Read, not memory-mapped: mapped pages count as memory of this process, and a file that shrinks
meanwhile would end it.

Format: https://github.com/huggingface/safetensors#format.
"""

import json
from io import SEEK_END
from math import prod
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class Entry(NamedTuple):
    """Where a tensor lies; `dtype` is safetensors' name, such as `BF16`."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class SafetensorsFile:
    """The tensors of one file. Raises `ModelError` if it is damaged or incomplete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self.entries = _read_header(file)
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{path}: damaged or incomplete safetensors file ({error}); fetch it again"
            ) from None

    def float32(self, name: str, start: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """A tensor, or a part of its first axis, in a fresh array.

        Raises `ModelError` for types that are not plain floats, and if the file is gone or shrunk.
        """
        entry = self.entries[name]
        if entry.dtype not in _BYTES:
            raise ModelError(
                f"{self.path}: tensor {name} has type {entry.dtype}; "
                f"only {', '.join(_BYTES)} can be read"
            )
        length = (entry.shape[0] if end is None else end) - start
        item, width = _BYTES[entry.dtype], prod(entry.shape[1:])
        dtype = np.dtype("<u2" if entry.dtype == "BF16" else f"<f{item}")
        offset = entry.offset + start * width * item
        try:
            raw = np.fromfile(self.path, dtype, length * width, offset=offset)
        except OSError as error:
            raise ModelError(f"{self.path}: cannot be read ({error.strerror})") from None
        if raw.size != length * width:
            raise ModelError(f"{self.path}: ends before tensor {name}; it was changed meanwhile")
        if entry.dtype == "BF16":
            bits = raw.astype(np.uint32)
            bits <<= 16
            values = bits.view(np.float32)
        else:
            values = raw.astype(np.float32, copy=False)
        return values.reshape(length, *entry.shape[1:])


def _read_header(file: BinaryIO) -> dict[str, Entry]:
    size = file.seek(0, SEEK_END)
    file.seek(0)
    start = 8 + int.from_bytes(file.read(8), "little")
    if size < 8 or start > size:
        raise ValueError("it ends inside its header")
    entries = {}
    for name, fields in json.loads(file.read(start - 8)).items():
        if name == "__metadata__":
            continue
        first, last = fields["data_offsets"]
        entry = Entry(fields["dtype"], tuple(fields["shape"]), start + first)
        if start + last > size:
            raise ValueError(f"it ends before tensor {name}")
        width = _BYTES.get(entry.dtype)
        if not entry.shape or (width is not None and last - first != width * prod(entry.shape)):
            raise ValueError(f"tensor {name} has the wrong size")
        entries[name] = entry
    return entries
