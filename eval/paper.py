"""The published protocol: an adapter in bfloat16 in torch, unconstrained decoding."""

import warnings
from math import prod
from pathlib import Path

from ner_edge.builtin import DEFAULT_MODEL
from ner_edge.errors import NerEdgeWarning
from ner_edge.eval.candidate import Candidate
from ner_edge.models.resolve import base_of, resolve_adapter, resolve_base
from ner_edge.task import Task, load_saved_task, load_task

DEFAULT_TASK = "conll2003"
"""The task for adapters without one, such as the published ones. Their instruction is known, their
prompt is not: the paper's scripts (github.com/szu-tera/LLMs4NER) wrap the instruction in
LLaMA-Factory's template for the base model, which is never the template of this task."""


def paper_candidate(
    adapter: str | None = None,
    base: str | None = None,
    task: str | None = None,
    threads: int | None = None,
) -> Candidate:
    """Return the candidate of `--protocol paper`: an adapter by folder or hub id; None is the
    default model's.

    `base` and `task` default to the adapter's own, `threads` to torch's default. Raises
    `ModelError` if the adapter does not fit the base, `UsageError` if a name cannot be resolved.
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
        f"{adapter}: contains no task, so {DEFAULT_TASK} is used; for an adapter trained by "
        f"LLaMA-Factory, which has other prompts, try --task {DEFAULT_TASK}:llamafactory-qwen, "
        f"{DEFAULT_TASK}:llamafactory-alpaca, or a TOML file",
        NerEdgeWarning,
        stacklevel=2,
    )
    return load_task(DEFAULT_TASK)
