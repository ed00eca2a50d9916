"""The checks before a training run: its data, and the disk, memory and time it needs."""

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ner_edge.architectures import BY_MODEL_TYPE
from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.errors import DataError, ModelError, NerEdgeError
from ner_edge.files.hashing import sha256_of
from ner_edge.files.targets import nearest
from ner_edge.hf.adapter_config import WEIGHTS_FILE
from ner_edge.hf.prompts import Example, PromptEncoder
from ner_edge.shapes import Hyperparameters
from ner_edge.task import Task
from ner_edge.terminal.counts import counted, grouped
from ner_edge.train.batches import plan_epoch, split_by_tokens
from ner_edge.train.checkpoint import CHECKPOINT_FILE
from ner_edge.train.loop import add_gradients, count_steps
from ner_edge.train.memory_estimate import free_memory, memory_need
from ner_edge.train.processes import rank_and_world
from ner_edge.train.recover import Rounding
from ner_edge.train.settings import TrainSettings
from ner_edge.train.start import Start

_COMPARED = 7  # matrices, as many as a layer has
_SAME = 0.999  # share of equal values; sums in another order may round differently
_BINS = 10
_BAR = 40  # characters of the fullest bin


@dataclass(frozen=True)
class Check:
    """One line of the preflight; an `error` stops the run, `details` are shown by `--dry-run`."""

    name: str
    text: str
    ok: bool = True
    details: Sequence[str] = ()
    error: NerEdgeError | None = None

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.name:<8}  {self.text}"


def preflight(
    start: Start,
    encoder: PromptEncoder,
    sentences: Sequence[Sentence],
    dev_sentences: Sequence[Sentence],
    examples: Sequence[Example],
    settings: TrainSettings,
) -> Iterator[Check]:
    """Yield the checks of a run that trains the model of `start` on `examples`."""
    model, rounding = start.model, start.rounding
    _, world = rank_and_world()
    yield data_check("data", sentences, encoder.task)
    if dev_sentences:
        yield data_check("dev", dev_sentences, encoder.task)
    yield template_check(sentences, encoder.task)
    architecture = BY_MODEL_TYPE[model.config.model_type]
    if licence := architecture.licence:
        yield Check("licence", f"the base and models trained from it are under the {licence}")
    context = model.config.max_position_embeddings
    limits = [(settings.max_tokens, "max_tokens"), (context, "the model's context")]
    if architecture.window and (window := model.config.sliding_window):
        limits.append((window, "the model's sliding window"))  # which packed attention ignores
    limit, name = min(limits)
    check_vocabulary(encoder.prefix, examples, model.config.vocab_size)
    yield token_check(encoder.prefix, examples, sentences, limit, name)
    if rounding:
        yield rounding_check(rounding, model, start.adapter)
    memory = memory_check(model, start.teacher, len(encoder.prefix), examples, settings, world)
    yield memory
    if memory.ok or (settings.shard and world > 1):  # all processes must take part
        yield time_check(start, encoder.prefix, examples, settings, world)


def disk_check(out: Path, base: Hyperparameters, rank: int, recovers: bool) -> Check:
    """Check that the disk of `out`, which need not exist, has room for an adapter and two
    checkpoints: a new one is written before it replaces the last."""
    weights = rank * sum(sum(shape) for shape in base.matrices().values()) * base.layers
    # Weights and two moments per weight in float32; when recovering, also the rounded adapter.
    checkpoint = weights * (16 if recovers else 12)
    there = out / CHECKPOINT_FILE
    need = 2 * weights + 2 * checkpoint - (there.stat().st_size if there.is_file() else 0)
    free = shutil.disk_usage(nearest(out)).free
    text = f"needs about {need / 1e9:.2f} GB; {free / 1e9:.1f} GB are free"
    error = None
    if free < need:
        error = NerEdgeError(f"--out {out}: not enough disk space: the run {text}")
    return Check("disk", text, error is None, error=error)


def data_check(name: str, sentences: Sequence[Sentence], task: Task) -> Check:
    """Count the sentences, and the entities of each label."""
    found = Counter(span.label for sentence in sentences for span in sentence.spans)
    labels = ", ".join(f"{label} {grouped(found[label])}" for label in task.labels)
    total = f"{counted(len(sentences), 'sentence')}, {counted(found.total(), 'entity')}"
    return Check(name, f"{total} ({labels})")


def template_check(sentences: Sequence[Sentence], task: Task) -> Check:
    """Show the prompt and the answer of the first sentence that has an entity."""
    shown = next(sentence for sentence in sentences if sentence.spans)
    answer = write_brackets(shown.words, shown.spans)
    text = f"{task.prefix}{shown.text}{task.suffix}{answer}"
    details = [f"│ {line}" for line in text.split("\n")]
    return Check("template", f"{task.template}, task {task.name}", details=details)


def token_check(
    prefix: Sequence[int],
    examples: Sequence[Example],
    sentences: Sequence[Sentence],
    limit: int,
    limit_name: str,
) -> Check:
    """Check that every sentence with its prompt and answer fits into `limit` tokens."""
    lengths = [len(prefix) + len(example) for example in examples]
    text = (
        f"median {median(lengths):.0f} per sentence, longest {max(lengths)}, limit {limit} "
        f"({limit_name}); each includes the shared prompt, {len(prefix)}"
    )
    error = None
    if max(lengths) > limit:
        # Examples beyond the sentences are lower-case copies of them.
        number = max(range(len(sentences)), key=lambda i: lengths[i])
        start = " ".join(sentences[number].words[:5])[:60]
        too_long = sum(length > limit for length in lengths)
        verb = "needs" if too_long == 1 else "need"
        error = DataError(
            f"{too_long} of {counted(len(lengths), 'sentence')} {verb} more tokens than "
            f"{limit_name}, {limit}; sentence {number + 1}, the longest ('{start} …'), needs "
            f"{lengths[number]}: split it"
            f"{', or raise max_tokens with --set' * (limit_name == 'max_tokens')}"
        )
    return Check("tokens", text, error is None, histogram(lengths), error)


def check_vocabulary(prefix: Sequence[int], examples: Sequence[Example], size: int) -> None:
    """Raise `ModelError` if the tokenizer yields a token id that the model has no embedding for."""
    ids = chain(prefix, *(chain(example.prompt, example.response) for example in examples))
    if (largest := max(ids)) >= size:
        raise ModelError(
            f"the tokenizer yields token {largest}, but the model has {size} embeddings; check "
            "that both belong to the same base"
        )


def rounding_check(rounding: Rounding, model: Any, adapter: Path | None) -> Check:
    """Check on a few matrices that rounding them here gives the weights in the file.

    This is possible only with the adapter that the file was made with. Rounds the frozen weights of
    `model` in place.
    """
    rounding.refresh(model)
    kept = f"unrounded weights take {rounding.nbytes / 1e9:.2f} GB"
    text = f"{rounding.file.path.name}: {rounding.types}; {kept}; "
    recorded = rounding.file.text("ner_edge.adapter_sha256")
    if adapter is None or sha256_of(adapter / WEIGHTS_FILE) != recorded:
        return Check("rounding", text + "not compared, since it was made with another adapter")
    modules = rounding.modules[:_COMPARED]
    for module in modules:
        here, there = rounding.rounded(model, module), rounding.in_file(module)
        if np.isclose(here, there).mean() < _SAME:
            error = ModelError(
                f"{rounding.file.path}: {module} differs from the same weights rounded here; pass "
                "the --imatrix that the file was exported with (none if there was none), and the "
                "--base it was made from"
            )
            return Check("rounding", f"{text}{module} differs", False, error=error)
    return Check("rounding", f"{text}{counted(len(modules), 'module')} compared, all equal")


def histogram(values: Sequence[int]) -> list[str]:
    """Return one line for each of up to ten ranges of equal width, with the count of `values`."""
    low, high = min(values), max(values)
    width = -(-(high - low + 1) // _BINS)
    counts = Counter((value - low) // width for value in values)
    most = max(counts.values())
    return [
        f"{low + i * width:>6} to {low + (i + 1) * width - 1:<6} {grouped(counts[i]):>7} "
        f"{'█' * round(_BAR * counts[i] / most)}".rstrip()
        for i in range((high - low) // width + 1)
    ]


def memory_check(
    model: Any,
    teacher: Any,
    prefix: int,
    examples: Sequence[Example],
    settings: TrainSettings,
    world: int,
) -> Check:
    """Check the memory for the largest packed sequence of the first epoch, in each process."""
    parts = [
        [len(example) for example in part]
        for batch in _batches(examples, settings)
        for part in split_by_tokens(batch[::world], prefix, settings.max_tokens)
    ]
    needs = [
        memory_need(model, settings.rank, prefix, part, settings.gradient_checkpointing)
        for part in sorted(parts, key=sum)[-8:]  # not only the largest: the shape matters too
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
    settings: TrainSettings,
    world: int,
) -> Check:
    """Estimate the duration of the run from one step of median size; the model does not change."""
    batches = sorted(_batches(examples, settings), key=lambda batch: sum(map(len, batch)))
    batch = batches[len(batches) // 2][::world]
    base = start.model.get_base_model()
    start.model.train()

    def try_step(batch: Sequence[Example]) -> float:
        started = time.perf_counter()
        add_gradients(base, prefix, batch, 1, settings.max_tokens, teacher=start.teacher)
        return time.perf_counter() - started

    try_step(batch[:1])  # warm up
    seconds = try_step(batch)
    start.model.zero_grad()
    if start.rounding:
        seconds += start.rounding.seconds / settings.round_every
    steps = count_steps(len(examples), settings)
    total = f"about {_duration(steps * seconds)}"
    return Check("time", f"{total}: {counted(steps, 'step')} of {seconds:.2g} s")


def _batches(examples: Sequence[Example], settings: TrainSettings) -> list[list[Example]]:
    lengths = [len(example) for example in examples]
    plan = plan_epoch(lengths, settings.batch_size, settings.seed, epoch=0)
    return [[examples[i] for i in batch] for batch in plan]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
