"""Read a GGUF file: metadata when it is opened, long arrays and tensors on demand.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. `gguf.GGUFReader` takes seconds
on a large vocabulary and reads out of bounds on a damaged file; this reader does neither.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValue, GGUFValueType, dequantize
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.files.inputs import open_input

_SCALARS = {
    GGUFValueType.UINT8: struct.Struct("<B"),
    GGUFValueType.INT8: struct.Struct("<b"),
    GGUFValueType.UINT16: struct.Struct("<H"),
    GGUFValueType.INT16: struct.Struct("<h"),
    GGUFValueType.UINT32: struct.Struct("<I"),
    GGUFValueType.INT32: struct.Struct("<i"),
    GGUFValueType.FLOAT32: struct.Struct("<f"),
    GGUFValueType.BOOL: struct.Struct("<?"),
    GGUFValueType.UINT64: struct.Struct("<Q"),
    GGUFValueType.INT64: struct.Struct("<q"),
    GGUFValueType.FLOAT64: struct.Struct("<d"),
}
_MANY = 1 << 20
# More than any model has. Without limits, a damaged count could cost minutes.
_MAX_ENTRIES = 1 << 16
_MAX_ITEMS = 1 << 24
_MAX_TEXT = 1 << 24
_MAX_NAME = 64  # bytes, including the final NUL
_ALIGNMENT = 32  # ggml's own; it aborts on a smaller one
_UINT32, _UINT64 = _SCALARS[GGUFValueType.UINT32], _SCALARS[GGUFValueType.UINT64]


Scalar = TypeVar("Scalar", str, int)


class TensorInfo(NamedTuple):
    """A tensor's place in the file; `shape` has rows first, as in numpy."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int
    nbytes: int


@dataclass(frozen=True)
class _Array:
    """A metadata array that was skipped: its item type, length and first byte."""

    item_type: GGUFValueType
    length: int
    offset: int


class GGUFFile:
    """A memory-mapped GGUF file.

    Raises `ModelError` if the file is not a GGUF, is damaged, or is shorter than its tensors, as
    ggml's own reader (`gguf.cpp`) does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_input(path, error=ModelError) as file:
            try:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # an empty file cannot be mapped
                raise ModelError(f"{path}: not a GGUF file ({error})") from None
        self._position = 0
        try:
            self._values, self.tensors = self._read_header()
        except (struct.error, ValueError, OverflowError) as error:
            raise self.damaged(str(error)) from None

    def damaged(self, reason: str) -> ModelError:
        """Return the error for a file that contradicts itself."""
        return ModelError(
            f"{self.path}: damaged or incomplete GGUF file ({reason}); fetch or export it again"
        )

    def unsupported(self, reason: str) -> ModelError:
        """Return the error for an intact file of an unsupported kind."""
        return ModelError(f"{self.path}: cannot be used: {reason}")

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return len(self._bytes)

    @property
    def metadata_bytes(self) -> bytes:
        """All that precedes the descriptions of the tensors, as stored."""
        return self._bytes[: self._infos_offset]

    def get(self, key: str) -> Any:
        """Return a metadata value; None if the key is absent or contains an array."""
        value = self._values[key][1] if key in self._values else None
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return None if isinstance(value, _Array) else value

    def text(self, key: str) -> str | None:
        """Return a string; None if the key is absent. Raises `ModelError` for any other type."""
        return self._typed(key, str, "text")

    def integer(self, key: str) -> int | None:
        """Return an integer; None if the key is absent. Raises `ModelError` for any other
        type."""
        return self._typed(key, int, "a whole number")

    def _typed(self, key: str, kind: type[Scalar], name: str) -> Scalar | None:
        value = self.get(key)
        if type(value) is kind:
            return value
        if key in self._values:
            raise self.damaged(f"{key} is not {name}")
        return None

    def keys(self, prefix: str) -> list[str]:
        """Return the metadata keys that start with `prefix`."""
        return [key for key in self._values if key.startswith(prefix)]

    def array_type(self, key: str) -> GGUFValueType | None:
        """Return the item type of a metadata array; None if there is no such array."""
        value = self._values[key][1] if key in self._values else None
        return value.item_type if isinstance(value, _Array) else None

    def items(self, key: str) -> list[Any] | None:
        """Return a metadata array, strings as bytes; None if there is no such array."""
        value = self._values[key][1] if key in self._values else None
        return self._items(value) if isinstance(value, _Array) else None

    def metadata(self) -> dict[str, GGUFValue]:
        """Return all metadata as `gguf.GGUFWriter` takes it, strings as bytes."""
        result = {}
        for key, (kind, value) in self._values.items():
            if isinstance(value, _Array):
                if value.length:  # the writer refuses empty arrays
                    result[key] = GGUFValue(self._items(value), kind, value.item_type)
            else:
                result[key] = GGUFValue(value, kind)
        return result

    def float32(self, name: str) -> NDArray[np.float32]:
        """Return a tensor, dequantized, in a fresh array."""
        shape = self.tensors[name].shape
        return self.rows(name, 0, prod(shape[:-1])).reshape(shape)

    def rows(self, name: str, start: int, end: int) -> NDArray[np.float32]:
        """Return some rows of a tensor, dequantized, in a fresh array. All dimensions but the last
        count as rows."""
        info = self.tensors[name]
        raw = self.raw_rows(name, start, end)
        try:
            if info.type == GGMLQuantizationType.F32:
                return raw.view(np.float32).copy()
            return np.asarray(dequantize(raw, info.type), np.float32)
        except NotImplementedError:
            raise ModelError(
                f"{self.path}: tensor {name} has type {info.type.name}, which cannot be read; "
                "use a base of another quantization type"
            ) from None
        finally:
            self._release(info.offset + start * raw.shape[1], raw.size)

    def raw_rows(self, name: str, start: int, end: int) -> NDArray[np.uint8]:
        """Return some rows of a tensor as stored, [rows, bytes], without copying them."""
        info = self.tensors[name]
        row_bytes = info.nbytes // prod(info.shape[:-1])
        count, offset = (end - start) * row_bytes, info.offset + start * row_bytes
        return np.frombuffer(self._bytes, np.uint8, count, offset).reshape(end - start, row_bytes)

    def _release(self, offset: int, count: int) -> None:
        """Return memory to the system, because mapped pages count as memory of this process."""
        if count >= _MANY and hasattr(mmap, "MADV_DONTNEED"):
            start = offset // mmap.PAGESIZE * mmap.PAGESIZE
            self._bytes.madvise(mmap.MADV_DONTNEED, start, offset + count - start)

    def _read_header(self) -> tuple[dict[str, tuple[GGUFValueType, Any]], dict[str, TensorInfo]]:
        if self._take(4) != b"GGUF":
            raise ModelError(f"{self.path}: not a GGUF file")
        version = self._scalar(_UINT32)
        if version not in (2, 3):
            raise ModelError(f"{self.path}: GGUF version {version} is not supported (2 or 3)")
        tensor_count, value_count = self._scalar(_UINT64), self._scalar(_UINT64)
        if max(tensor_count, value_count) > _MAX_ENTRIES:
            raise ValueError(f"{tensor_count} tensors and {value_count} metadata values")
        values: dict[str, tuple[GGUFValueType, Any]] = {}
        for _ in range(value_count):
            key = self._string().decode("utf-8")
            if not key or key in values:
                raise ValueError(f"the metadata key {key!r} is empty or appears twice")
            kind = GGUFValueType(self._scalar(_UINT32))
            values[key] = (kind, self._value(kind))
        self._infos_offset = self._position
        infos = [self._tensor_info() for _ in range(tensor_count)]
        self.alignment = alignment = _alignment(values)
        start = offset = -(-self._position // alignment) * alignment
        tensors: dict[str, TensorInfo] = {}
        for info in infos:
            if info.name in tensors:
                raise ValueError(f"tensor {info.name} appears twice")
            if start + info.offset != offset:
                raise ValueError(f"tensor {info.name} does not start where the previous one ends")
            tensors[info.name] = info._replace(offset=offset)
            end = offset + info.nbytes
            if end > len(self._bytes):
                raise ValueError(f"{len(self._bytes)} bytes, but tensor {info.name} ends at {end}")
            offset = -(-end // alignment) * alignment
        return values, tensors

    def _take(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._bytes):
            raise ValueError("it ends inside its header")
        chunk = self._bytes[self._position : end]
        self._position = end
        return chunk

    def _scalar(self, layout: struct.Struct) -> Any:
        (value,) = layout.unpack_from(self._bytes, self._position)
        self._position += layout.size
        return value

    def _string(self) -> bytes:
        length = self._scalar(_UINT64)
        if length > _MAX_TEXT:
            raise ValueError(f"a string of {length} bytes")
        return self._take(length)

    def _value(self, kind: GGUFValueType) -> Any:
        if kind == GGUFValueType.STRING:
            return self._string()
        if kind == GGUFValueType.ARRAY:
            return self._skip_array()
        return self._scalar(_SCALARS[kind])

    def _skip_array(self) -> _Array:
        item_type = GGUFValueType(self._scalar(_UINT32))
        length = self._scalar(_UINT64)
        if length > _MAX_ITEMS:
            raise ValueError(f"an array of {length} items")
        array = _Array(item_type, length, self._position)
        if item_type == GGUFValueType.STRING:
            for _start, end in self._string_bounds(array):
                self._position = end
        elif item_type == GGUFValueType.ARRAY:
            raise ValueError("it contains nested arrays")
        else:
            self._position += length * _SCALARS[item_type].size
        if self._position > len(self._bytes):
            raise ValueError("it ends inside its header")
        return array

    def _string_bounds(self, array: _Array) -> Iterator[tuple[int, int]]:
        read_length, data, end = _UINT64.unpack_from, self._bytes, array.offset
        for _ in range(array.length):
            start = end + 8
            end = start + read_length(data, end)[0]
            yield start, end

    def _items(self, array: _Array) -> list[Any]:
        if array.item_type == GGUFValueType.STRING:
            return [self._bytes[start:end] for start, end in self._string_bounds(array)]
        layout = f"<{array.length}{_SCALARS[array.item_type].format[-1]}"
        return list(struct.unpack_from(layout, self._bytes, array.offset))

    def _tensor_info(self) -> TensorInfo:
        name = self._string().decode("utf-8")
        if len(name.encode()) >= _MAX_NAME:
            raise ValueError(f"the tensor name {name[:20]!r}… is too long")
        dimensions = self._scalar(_UINT32)
        if not 1 <= dimensions <= 4:
            raise ValueError(f"tensor {name} has {dimensions} dimensions")
        shape = tuple(self._scalar(_UINT64) for _ in range(dimensions))[::-1]
        kind = GGMLQuantizationType(self._scalar(_UINT32))
        block, block_bytes = GGML_QUANT_SIZES[kind]
        if not all(shape) or shape[-1] % block:
            raise ValueError(f"tensor {name} has rows that do not fit type {kind.name}")
        nbytes = prod(shape) // block * block_bytes
        return TensorInfo(name, shape, kind, self._scalar(_UINT64), nbytes)


def _alignment(values: Mapping[str, tuple[GGUFValueType, Any]]) -> int:
    kind, alignment = values.get("general.alignment", (GGUFValueType.UINT32, _ALIGNMENT))
    # A power of two has a single bit.
    if kind != GGUFValueType.UINT32 or alignment < _ALIGNMENT or alignment & (alignment - 1):
        raise ValueError(f"its alignment is not a power of two of at least {_ALIGNMENT}")
    return int(alignment)
