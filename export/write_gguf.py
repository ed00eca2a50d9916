"""Write a model as f32, f16, bf16 and q8_0 GGUF files in one streaming pass over its weights."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValue, GGUFValueType, GGUFWriter
from gguf import quantize as quantize_blocks
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.export.quantize.types import Quant
from ner_edge.export.read.base import Base, Tensor
from ner_edge.files.inputs import name_as_text

_TYPES = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
    "q8_0": GGMLQuantizationType.Q8_0,
}
DIRECT = tuple(_TYPES)
_F16_MAX = 65504.0
# A q8_0 block stores its largest weight divided by 127 in f16.
_LIMITS = {GGMLQuantizationType.F16: _F16_MAX, GGMLQuantizationType.Q8_0: 127 * _F16_MAX}

_ALIGNMENT = 32  # GGUF's default
_SLAB = 1 << 23  # weights read, merged and encoded at a time
_THREADS = 4  # the disk is the bottleneck beyond that

# Metadata of the base's file rather than the model: written anew, or meaningless in a new file.
_NOT_COPIED = (
    "general.alignment",
    "general.architecture",
    "general.file_type",
    "general.name",
    "general.quantization_version",
    "ner_edge.",
    "quantize.",
    "split.",
)

logging.getLogger("gguf").setLevel(logging.ERROR)  # its warnings are expected here

Slab = tuple[Tensor, int, int]
Result = TypeVar("Result")


class F16Overflow(ModelError):
    """A weight out of f16's range."""


def text_value(text: str) -> GGUFValue:
    """Make a metadata value of type string."""
    return GGUFValue(text, GGUFValueType.STRING)


def write_models(
    model: Base,
    targets: Mapping[Path, Quant],
    name: str,
    extra: Mapping[str, GGUFValue],
    progress: Callable[[int, int], None],
    threads: int = 1,
) -> None:
    """Write `model` to each target in its type (one of `DIRECT`), reading each weight once.

    `extra` is added to the base's metadata. Vectors, such as norms and biases, stay f32, as in
    llama.cpp's converter. `progress` gets the tensors done and their total. Raises `ModelError` if
    a weight is not finite, `F16Overflow` if it is out of f16's range; the targets are then
    incomplete.
    """
    quants = list(targets.values())
    for path, quant in targets.items():
        _write_header(path, model, name, extra, quant)
    with ExitStack() as stack:
        files = [stack.enter_context(path.open("ab")) for path in targets]
        done = 0
        progress(done, len(model.tensors))
        slabs = (slab for tensor in model.tensors.values() for slab in _slabs(tensor))
        encode = partial(_encode_slab, model.path, quants)
        for (tensor, _, end), parts in _in_order(encode, slabs, min(threads, _THREADS)):
            for file, part in zip(files, parts, strict=True):
                file.write(part.data)
            if end == tensor.shape[0]:
                for file in files:
                    _pad(file)
                done += 1
                progress(done, len(model.tensors))


def _encode_slab(path: Path, quants: Sequence[Quant], slab: Slab) -> list[NDArray[np.generic]]:
    tensor, start, end = slab
    weight = tensor.read_slice(start, end)
    largest = _largest_magnitude(weight, path, tensor)
    kinds = [_tensor_type(tensor, quant) for quant in quants]
    for kind in kinds:
        if largest > _LIMITS.get(kind, np.inf):
            raise F16Overflow(
                f"{path}: {tensor.name} contains {largest:.3g}, which is out of the range of "
                f"{kind.name.lower()}; export to bf16 or f32"
            )
    return [_encode(weight, kind) for kind in kinds]


def model_bytes(tensors: Sequence[Tensor], bits_per_weight: float) -> int:
    """Estimate the size of a file, vocabulary and metadata included."""
    return int(sum(prod(tensor.shape) for tensor in tensors) * bits_per_weight / 8) + (16 << 20)


def working_bytes(threads: int) -> int:
    """Estimate the memory that writing takes, in bytes. It does not depend on the model."""
    return (min(threads, _THREADS) + 2) * _SLAB * 16


def _slabs(tensor: Tensor) -> Iterator[Slab]:
    rows = max(1, _SLAB // prod(tensor.shape[1:]))
    for start in range(0, tensor.shape[0], rows):
        yield tensor, start, min(start + rows, tensor.shape[0])


def _in_order(
    function: Callable[[Slab], Result], slabs: Iterator[Slab], threads: int
) -> Iterator[tuple[Slab, Result]]:
    """Yield each slab with the function's result; a few are computed ahead."""
    pending: deque[tuple[Slab, Future[Result]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for slab in slabs:
            pending.append((slab, pool.submit(function, slab)))
            if len(pending) > threads:
                first, result = pending.popleft()
                yield first, result.result()
                del result
        for first, result in pending:
            yield first, result.result()


def _write_header(
    path: Path, model: Base, name: str, extra: Mapping[str, GGUFValue], quant: Quant
) -> None:
    writer = GGUFWriter(path, model.architecture.name)
    writer.add_name(name_as_text(Path(name)))
    writer.add_file_type(quant.file_type)
    writer.add_quantization_version(2)
    copied = {k: v for k, v in model.metadata.items() if not k.startswith(_NOT_COPIED)}
    for key, value in {**copied, **extra}.items():
        writer.add_key_value(key, value.value, value.type, value.sub_type)
    for tensor in model.tensors.values():
        kind = _tensor_type(tensor, quant)
        block, block_bytes = GGML_QUANT_SIZES[kind]
        writer.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            prod(tensor.shape) // block * block_bytes,
            raw_dtype=kind,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with path.open("ab") as file:
        _pad(file)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % _ALIGNMENT))


def _tensor_type(tensor: Tensor, quant: Quant) -> GGMLQuantizationType:
    if len(tensor.shape) == 1:
        return GGMLQuantizationType.F32
    kind = _TYPES[quant.name]
    if tensor.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        return GGMLQuantizationType.F16  # as llama.cpp does when a row does not divide into blocks
    return kind


def _largest_magnitude(weight: NDArray[np.float32], path: Path, tensor: Tensor) -> float:
    largest = max(float(weight.max()), -float(weight.min()))
    if not np.isfinite(largest):
        raise ModelError(f"{path}: not all merged weights of {tensor.name} are finite")
    return largest


def _encode(weight: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.generic]:
    weight = np.ascontiguousarray(weight)
    if kind == GGMLQuantizationType.F16:
        return weight.astype(np.float16)
    if kind == GGMLQuantizationType.BF16:  # round to nearest, ties to even
        bits = weight.view(np.uint32)
        rounding = bits >> 16
        rounding &= 1
        rounding += 0x7FFF
        rounding += bits
        rounding >>= 16
        return rounding.astype(np.uint16)
    if kind == GGMLQuantizationType.Q8_0:
        return np.asarray(quantize_blocks(weight, kind))
    return weight
