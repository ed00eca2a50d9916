"""Write a LoRA adapter as GGUF, which llama.cpp applies at load time to an unchanged base."""

from math import prod
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from numpy.typing import NDArray

from ner_edge import __version__
from ner_edge.errors import ModelError
from ner_edge.export.read.adapter import Adapter, LoraPair, open_adapter
from ner_edge.export.read.source import open_base
from ner_edge.files.atomic import atomic_path, make_folder
from ner_edge.files.inputs import name_as_text
from ner_edge.files.targets import check_not_input
from ner_edge.task import GGUF_KEY, Task, load_saved_task


def export_adapter(base: Path, adapter: Path, out: Path, task: Task | None = None) -> Path:
    """Write the peft folder `adapter` to `out` as a GGUF LoRA and return `out`.

    The LoRA fits `base`, a GGUF or a Hugging Face folder, and every GGUF made from it. `task` is
    embedded, by default the one saved beside the adapter. llama.cpp scales by `alpha / r`; any
    other factor (rslora, alpha_pattern) is multiplied into B. Raises `ModelError` if base or
    adapter is damaged or they do not fit each other. Format: llama.cpp, `convert_lora_to_gguf.py`.
    """
    model = open_base(base)
    lora = open_adapter(adapter, model)
    if set(lora.pairs) - set(model.tensors):
        raise ModelError(
            f"{adapter}: adapts lm_head, which is tied to the embedding in {base}; llama.cpp "
            "cannot apply such a LoRA, so merge the adapter instead"
        )
    task = task or load_saved_task(adapter)
    check_not_input(str(out), out, [base, adapter])
    make_folder(out.parent)
    with atomic_path(out) as temporary:
        writer = GGUFWriter(temporary, model.architecture.name)
        try:
            _add_metadata(writer, lora, task)
            _write_pairs(writer, lora)
        finally:
            writer.close()
    return out


def _add_metadata(writer: GGUFWriter, lora: Adapter, task: Task | None) -> None:
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", lora.alpha)
    writer.add_name(name_as_text(lora.path.resolve()))
    writer.add_string("ner_edge.version", __version__)
    writer.add_string("ner_edge.adapter_sha256", lora.sha256)
    if task is not None:
        writer.add_string(GGUF_KEY, task.to_json())


def _write_pairs(writer: GGUFWriter, lora: Adapter) -> None:
    for pair in lora.pairs.values():
        kind = _tensor_type(pair, lora)
        for half, name in (("a", pair.a_name), ("b", pair.b_name)):
            shape = pair.file.entries[name].shape
            width = 4 if kind == GGMLQuantizationType.F32 else 2
            writer.add_tensor_info(
                f"{pair.tensor}.lora_{half}",
                shape,
                np.dtype(np.float32),
                width * prod(shape),
                raw_dtype=kind,
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for pair in lora.pairs.values():
        kind = _tensor_type(pair, lora)
        for values in (pair.a(), pair.b() * np.float32(_extra_scale(pair, lora))):
            if not np.isfinite(values).all():
                raise ModelError(f"{lora.path}: not all weights of {pair.tensor} are finite")
            writer.write_tensor_data(_encode(values, kind))


def _tensor_type(pair: LoraPair, lora: Adapter) -> GGMLQuantizationType:
    """Return f16 if that is lossless, else f32."""
    dtypes = {pair.file.entries[name].dtype for name in (pair.a_name, pair.b_name)}
    exact = dtypes == {"F16"} and _extra_scale(pair, lora) == 1.0
    return GGMLQuantizationType.F16 if exact else GGMLQuantizationType.F32


def _extra_scale(pair: LoraPair, lora: Adapter) -> float:
    rank = pair.file.entries[pair.a_name].shape[0]
    return pair.scale * rank / lora.alpha


def _encode(values: NDArray[np.float32], kind: GGMLQuantizationType) -> NDArray[np.generic]:
    dtype = np.float16 if kind == GGMLQuantizationType.F16 else np.float32
    return np.ascontiguousarray(values, dtype)
