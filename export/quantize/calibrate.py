"""Collect an importance matrix from training sentences in the task's own prompt format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ner_edge.errors import ModelError
from ner_edge.export.quantize.calibration import CalibrationSet
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.runtime.decisions import read_decisions
from ner_edge.runtime.llama import LlamaModel
from ner_edge.runtime.nodes import NodeReader, nodes_can_be_read
from ner_edge.task import Task

# llama.cpp's names for what a layer's matrices are multiplied with (src/llama-graph.cpp).
_READ_BY = {
    "attn_norm": ("attn_q", "attn_k", "attn_v"),
    "kqv_out": ("attn_output",),
    "ffn_norm": ("ffn_gate", "ffn_up"),
    "ffn_swiglu": ("ffn_down",),
    "ffn_geglu": ("ffn_down",),
}
_LAST = "result_norm"


def collect_imatrix(
    model: Path,
    task: Task,
    data: CalibrationSet,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imatrix:
    """Let a 16- or 32-bit GGUF read prompts with their right answers and note what its weights see.

    `progress` gets sentences done and in all. Raises `ModelError` if llama.cpp does not show it.
    """
    imatrix = Imatrix(dataset=data.name, dataset_sha256=data.sha256)

    def see(name: str, values: NDArray[np.float32]) -> bool:
        if name == _LAST:
            imatrix.add("output.weight", values)
            imatrix.add("token_embd.weight", values)  # where the two are tied
        else:
            kind, _, layer = name.partition("-")
            for weight in _READ_BY[kind]:
                imatrix.add(f"blk.{layer}.{weight}.weight", values)
        return True

    if not nodes_can_be_read():
        raise ModelError("calibration does not work on this system: llama.cpp hides its nodes")
    nodes = NodeReader(lambda name: name == _LAST or name.partition("-")[0] in _READ_BY, see)
    llama = LlamaModel(model, context=2048, sequences=9, threads=threads, nodes=nodes)
    try:
        for done, _ in enumerate(read_decisions(llama, task, data.answers), 1):
            progress(done, len(data.answers))
    finally:
        llama.close()
    if not imatrix.sums:
        raise ModelError(f"{model}: llama.cpp does not show what its weights see")
    return imatrix
