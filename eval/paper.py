"""The published protocol: an adapter in bfloat16 in torch, decoding without constraints."""

import warnings
from math import prod
from pathlib import Path

from ner_edge.builtin import DEFAULT_MODEL
from ner_edge.errors import NerEdgeWarning
from ner_edge.eval.evaluate import Candidate
from ner_edge.models.resolve import base_of, resolve_adapter, resolve_base
from ner_edge.task import Task, load_saved_task, load_task

DEFAULT_TASK = "conll2003"
"""What an adapter is asked that carries no task, as published ones do not. Of their prompts only
the instruction is known for certain: the paper's own scripts (github.com/szu-tera/LLMs4NER) take
LLaMA-Factory's template for each base model, none of which is the task's."""


def paper_candidate(
    adapter: str | None = None,
    base: str | None = None,
    task: str | None = None,
    threads: int | None = None,
) -> Candidate:
    """What `--protocol paper` evaluates: an adapter by folder or hub id, None the embedded one.

    `base` and `task` default to what the adapter says, `threads` to torch's own choice. Raises
    `ModelError` if the adapter does not fit the base, `UsageError` for names of nothing.
    """
    from ner_edge.eval.torch_tagger import TorchTagger
    from ner_edge.export.read.adapter import open_adapter
    from ner_edge.export.read.source import open_base

    folder = resolve_adapter(adapter)
    base_path = resolve_base(base) if base else base_of(folder)
    opened = open_base(base_path)
    open_adapter(folder, opened)
    chosen = load_task(task) if task else load_saved_task(folder) or _default_task(folder)
    parameters = sum(prod(tensor.shape) for tensor in opened.tensors.values())
    name = DEFAULT_MODEL if adapter is None else adapter
    return Candidate(
        name=f"{Path(name).resolve().name if Path(name).is_dir() else name} (torch bf16)",
        path=folder,
        load=lambda: TorchTagger(base_path, folder, chosen, threads),
        base=base_path,
        size_bytes=2 * parameters,
        bits_per_weight=16.0,
    )


def _default_task(adapter: Path) -> Task:
    warnings.warn(
        f"{adapter}: holds no task, so it is asked for {DEFAULT_TASK}; an adapter of LLaMA-Factory "
        f"was trained with another prompt: try --task {DEFAULT_TASK}:llamafactory-qwen, or "
        "-alpaca, or a TOML file",
        NerEdgeWarning,
        stacklevel=2,
    )
    return load_task(DEFAULT_TASK)
