"""Check the disk space, memory and time that a training run needs."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ner_edge.errors import NerEdgeError
from ner_edge.files.targets import nearest
from ner_edge.hf.prompts import Example
from ner_edge.shapes import Hyperparameters
from ner_edge.terminal.counts import counted
from ner_edge.train.batches import Schedule, split_by_tokens
from ner_edge.train.check import Check
from ner_edge.train.checkpoint import CHECKPOINT_FILE
from ner_edge.train.loop import LossWeights, add_gradients
from ner_edge.train.memory_estimate import free_memory, memory_need
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Start
from ner_edge.train.word_head import head_depths


def disk_check(
    out: Path, base: Hyperparameters, settings: TrainSettings, labels: int, recovers: bool
) -> Check:
    """Check that the disk of `out`, which need not exist, has room for an adapter, its word head
    for `labels` labels, if any, and two checkpoints: a new one is written before it replaces the
    last."""
    weights = settings.rank * sum(sum(shape) for shape in base.matrices().values()) * base.layers
    head = 0
    if settings.reading == "both":
        depths = head_depths(base.layers, early=settings.early_loss > 0)
        head = len(depths) * (1 + 2 * labels) * (base.width + 1)
    # Weights and two moments per weight in float32; the rounded adapter; the best adapter.
    checkpoint = (weights + head) * (12 + 4 * recovers + 4 * settings.keep_best)
    there = out / CHECKPOINT_FILE
    need = 2 * weights + 4 * head + 2 * checkpoint
    need -= there.stat().st_size if there.is_file() else 0
    free = shutil.disk_usage(nearest(out)).free
    text = f"needs about {need / 1e9:.2f} GB; {free / 1e9:.1f} GB are free"
    error = None
    if free < need:
        error = NerEdgeError(f"--out {out}: not enough disk space: the run {text}")
    return Check("disk", text, error is None, error=error)


def memory_check(
    model: Any,
    teacher: Any,
    prefix: int,
    examples: Sequence[Example],
    schedule: Schedule,
    settings: TrainSettings,
    world: int,
) -> Check:
    """Check the memory for the largest packed sequence of the first epoch, in each process."""
    parts = [
        part
        for batch in _batches(examples, schedule)
        for part in split_by_tokens(batch[::world], prefix, settings.max_tokens)
    ]
    needs = [
        memory_need(model, settings.rank, prefix, part, settings.gradient_checkpointing)
        for part in sorted(parts, key=_tokens)[-8:]  # not only the largest: the shape matters too
    ]
    need = max(needs, key=lambda need: need.total)
    if teacher is not None:
        taught_by = sum(weight.nbytes for weight in teacher.parameters())
        need = replace(need, weights=need.weights + taught_by)
    free = free_memory(model.device)
    ok = free is None or (need.adapter + need.activations) * world < free
    text = (
        f"needs about {need.total / 1e9:.1f} GB{f' in each of {world} processes' * (world > 1)} "
        f"({settings.dtype} weights {need.weights / 1e9:.2f}, "
        f"adapter and optimizer {need.adapter / 1e9:.2f}, "
        f"activations {need.activations / 1e9:.2f})"
    )
    if free is not None:
        text += f"; {free / 1e9:.1f} GB are free"
    if not ok:
        text += "; lower batch_size or max_tokens with --set, or --set gradient_checkpointing=true"
    return Check("memory", text, ok)


def time_check(
    start: Start,
    prefix: Sequence[int],
    examples: Sequence[Example],
    schedule: Schedule,
    settings: TrainSettings,
    world: int,
) -> Check:
    """Estimate the duration of the run from one step of median size; the model does not change."""
    batches = sorted(_batches(examples, schedule), key=_tokens)
    batch = batches[len(batches) // 2][::world]
    base = start.model.get_base_model()
    start.model.train()

    def try_step(batch: Sequence[Example]) -> float:
        started = time.perf_counter()
        weights = LossWeights.of(batch, settings)
        add_gradients(base, prefix, batch, weights, settings.max_tokens, teacher=start.teacher)
        return time.perf_counter() - started

    try_step(batch[:1])  # warm up
    seconds = try_step(batch)
    start.model.zero_grad()
    if start.rounding:
        seconds += start.rounding.seconds / settings.round_every
    total = f"about {_duration(schedule.steps * seconds)}"
    return Check("time", f"{total}: {counted(schedule.steps, 'step')} of {seconds:.2g} s")


def _batches(examples: Sequence[Example], schedule: Schedule) -> list[list[Example]]:
    return [[examples[i] for i in batch] for batch in schedule.epoch(0)]


def _tokens(batch: Sequence[Example]) -> int:
    return sum(map(len, batch))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
