"""Collect an importance matrix from labelled sentences in the task's own prompt."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ner_edge.data.formats.columns import Columns
from ner_edge.data.labelled import read_labelled
from ner_edge.errors import ModelError
from ner_edge.files.hashing import sha256_of
from ner_edge.gguf.imatrix import Imatrix, read_imatrix
from ner_edge.gguf.metadata import describe
from ner_edge.spans import Span
from ner_edge.task import Task

_SENTENCES = 400  # more barely change the matrix

# llama.cpp's names for the inputs of a layer's matrices (src/llama-graph.cpp), the same for every
# architecture that can be exported.
_READ_BY = {
    "attn_norm": ("attn_q", "attn_k", "attn_v"),
    "kqv_out": ("attn_output",),
    "ffn_norm": ("ffn_gate", "ffn_up"),
    "ffn_swiglu": ("ffn_down",),
    "ffn_geglu": ("ffn_down",),
}
_LAST = "result_norm"


@dataclass(frozen=True)
class ImatrixData:
    """Labelled sentences to collect an importance matrix from, with the name and SHA-256 of their
    file."""

    answers: Sequence[tuple[Sequence[str], Sequence[Span]]]
    """The words of each sentence and its gold spans."""
    name: str
    sha256: str = ""


def imatrix_or_data(path: Path, columns: Columns | None = None) -> Imatrix | ImatrixData:
    """Read an importance matrix if `path` ends in `.gguf`, else labelled sentences.

    About 400 sentences are taken evenly from the whole file. Use training data, never the data of
    an evaluation. Raises `ModelError` or `DataError` if the file is damaged.
    """
    if path.suffix == ".gguf":
        return read_imatrix(path)
    sentences = [sentence for sentence in read_labelled(path, columns=columns) if sentence.words]
    step = max(1, len(sentences) // _SENTENCES)
    answers = [(sentence.words, sentence.spans) for sentence in sentences[::step]]
    return ImatrixData(answers, path.name, sha256_of(path))


def collect_imatrix(
    model: Path,
    task: Task,
    data: ImatrixData,
    *,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Imatrix:
    """Run a 16- or 32-bit GGUF over prompts with their gold answers and sum the squared inputs of
    each weight matrix.

    `progress` gets the sentences done and their total. Raises `ModelError` if llama.cpp does not
    expose these inputs, `DataError` if a label is not one of the task's.
    """
    from ner_edge.runtime.decisions import read_decisions
    from ner_edge.runtime.llama import LlamaModel
    from ner_edge.runtime.nodes import NodeReader, nodes_can_be_read

    if not nodes_can_be_read():
        raise ModelError(
            "an importance matrix cannot be collected on this system, because llama.cpp does not "
            "expose its intermediate results; pass a matrix collected elsewhere to --imatrix"
        )
    imatrix = Imatrix(dataset=data.name, dataset_sha256=data.sha256)

    def add(name: str, inputs: NDArray[np.float32]) -> bool:
        for weight in _weights_behind(name):
            imatrix.add(weight, inputs)
        return True

    nodes = NodeReader(lambda name: bool(_weights_behind(name)), add)
    llama = LlamaModel(model, context=2048, sequences=9, threads=threads, nodes=nodes)
    try:
        decisions = read_decisions(llama, task, data.answers, describe(model).word_head)
        for done, _ in enumerate(decisions, 1):
            progress(done, len(data.answers))
    finally:
        llama.close()
    if not imatrix.sums:
        raise ModelError(f"{model}: llama.cpp does not expose the inputs of its weights")
    return imatrix


def _weights_behind(node: str) -> list[str]:
    """`ffn_norm-3` → `blk.3.ffn_gate.weight`, `blk.3.ffn_up.weight`."""
    if node == _LAST:
        return ["output.weight", "token_embd.weight"]  # one matrix where they are tied
    kind, _, layer = node.partition("-")
    return [f"blk.{layer}.{weight}.weight" for weight in _READ_BY.get(kind, ())]
