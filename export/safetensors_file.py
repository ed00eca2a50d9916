"""Read safetensors memory-mapped, with numpy alone (which has no bf16 of its own).

Format: https://github.com/huggingface/safetensors#format.
"""

import json
from math import prod
from pathlib import Path
from typing import NamedTuple

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
            self._bytes = np.memmap(path, np.uint8, mode="r")
            self.entries = self._read_header()
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file") from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{path}: damaged or incomplete safetensors file ({error}); fetch it again"
            ) from None

    def _read_header(self) -> dict[str, Entry]:
        header_bytes = int.from_bytes(self._bytes[:8].tobytes(), "little")
        start = 8 + header_bytes
        if len(self._bytes) < 8 or start > len(self._bytes):
            raise ValueError("it ends inside its header")
        entries = {}
        for name, fields in json.loads(self._bytes[8:start].tobytes()).items():
            if name == "__metadata__":
                continue
            first, last = fields["data_offsets"]
            entry = Entry(fields["dtype"], tuple(fields["shape"]), start + first)
            if start + last > len(self._bytes):
                raise ValueError(f"it ends before tensor {name}")
            size = _BYTES.get(entry.dtype)
            if size is not None and last - first != size * prod(entry.shape):
                raise ValueError(f"tensor {name} has the wrong size")
            entries[name] = entry
        return entries

    def float32(self, name: str) -> NDArray[np.float32]:
        """One tensor in a fresh array. Raises `ModelError` for types that are not plain floats."""
        entry = self.entries[name]
        if entry.dtype not in _BYTES:
            raise ModelError(
                f"{self.path}: tensor {name} has type {entry.dtype}; "
                f"only {', '.join(_BYTES)} can be read"
            )
        end = entry.offset + _BYTES[entry.dtype] * prod(entry.shape)
        raw = np.frombuffer(self._bytes, np.uint8)[entry.offset : end]
        if entry.dtype == "BF16":
            values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = raw.view(f"<f{_BYTES[entry.dtype]}").astype(np.float32)
        return values.reshape(entry.shape)
