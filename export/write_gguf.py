"""Write a model as GGUF in 16 or 32 bits, streaming, to any number of files in one pass."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from math import prod
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFValue, GGUFValueType, GGUFWriter
from numpy.typing import NDArray

from ner_edge.atomic import atomic_path
from ner_edge.errors import ModelError
from ner_edge.export.base import Base, Tensor
from ner_edge.export.quants import Quant

_TYPES = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "bf16": GGMLQuantizationType.BF16,
}
DIRECT = tuple(_TYPES)
_F16_MAX = 65504.0

# The base's own file, not the model: written afresh, or meaningless in another file.
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

logging.getLogger("gguf").setLevel(logging.ERROR)  # it warns of what is expected here


class F16Overflow(ModelError):
    """A weight is too large for f16."""


def text_value(text: str) -> GGUFValue:
    """A metadata value that is text."""
    return GGUFValue(text, GGUFValueType.STRING)


def write_models(
    model: Base,
    targets: Mapping[Path, Quant],
    name: str,
    extra: Mapping[str, GGUFValue],
    progress: Callable[[int, int], None],
) -> None:
    """Write `model` to each target at its level (f32, f16 or bf16), reading each tensor once.

    `extra` is added to the base's metadata. `progress` gets tensors done and in all. Norms, biases
    and other vectors stay f32, as llama.cpp's converter does. Raises `ModelError` if a weight is
    not finite, `F16Overflow` if f16 cannot hold it; then no target appears.
    """
    with ExitStack() as stack:
        writers = []
        for path, quant in targets.items():
            temporary = stack.enter_context(atomic_path(path))
            writer = _open_writer(temporary, model, name, extra, quant)
            stack.callback(writer.close)
            writers.append((writer, quant))
        for done, tensor in enumerate(model.tensors.values()):
            progress(done, len(model.tensors))
            weight = tensor.read()
            largest = _largest_magnitude(weight, tensor)
            for writer, quant in writers:
                kind = _tensor_type(tensor, quant)
                if kind == GGMLQuantizationType.F16 and largest > _F16_MAX:
                    raise F16Overflow(
                        f"{model.path}: {tensor.name} holds {largest:.3g}, more than f16 can; "
                        "use bf16 or f32"
                    )
                writer.write_tensor_data(_encode(weight, kind))
        progress(len(model.tensors), len(model.tensors))


def model_bytes(tensors: Sequence[Tensor], bits_per_weight: float) -> int:
    """About how large a file at this level becomes, vocabulary and metadata included."""
    return int(sum(prod(tensor.shape) for tensor in tensors) * bits_per_weight / 8) + (16 << 20)


def _open_writer(
    path: Path, model: Base, name: str, extra: Mapping[str, GGUFValue], quant: Quant
) -> GGUFWriter:
    writer = GGUFWriter(path, model.architecture)
    writer.add_name(name)
    writer.add_file_type(quant.file_type)
    writer.add_quantization_version(2)
    copied = {k: v for k, v in model.metadata.items() if not k.startswith(_NOT_COPIED)}
    for key, value in {**copied, **extra}.items():
        writer.add_key_value(key, value.value, value.type, value.sub_type)
    for tensor in model.tensors.values():
        kind = _tensor_type(tensor, quant)
        width = 4 if kind == GGMLQuantizationType.F32 else 2
        writer.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            width * prod(tensor.shape),
            raw_dtype=kind,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer


def _tensor_type(tensor: Tensor, quant: Quant) -> GGMLQuantizationType:
    return GGMLQuantizationType.F32 if len(tensor.shape) == 1 else _TYPES[quant.name]


def _largest_magnitude(weight: NDArray[np.float32], tensor: Tensor) -> float:
    largest = max(float(weight.max()), -float(weight.min()))
    if not np.isfinite(largest):
        raise ModelError(f"{tensor.name}: not all merged weights are finite; nothing was written")
    return largest


def _encode(weight: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.generic]:
    if kind == GGMLQuantizationType.F16:
        return weight.astype(np.float16)
    if kind == GGMLQuantizationType.BF16:  # round to nearest, ties to even
        bits = np.ascontiguousarray(weight).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.ascontiguousarray(weight)
