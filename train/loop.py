"""The training loop."""

import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import NerEdgeError
from ner_edge.hf.prompts import Example
from ner_edge.train.batches import plan_epoch, split_by_tokens
from ner_edge.train.checkpoint import load_checkpoint, save_checkpoint
from ner_edge.train.loss import packed_loss
from ner_edge.train.packing import pack
from ner_edge.train.processes import rank_and_world, sum_over_processes
from ner_edge.train.recover import Rounding
from ner_edge.train.settings import TrainSettings


@dataclass(frozen=True)
class StepReport:
    """What a finished optimizer step has to say."""

    step: int
    steps: int
    loss: float
    """Mean over the response tokens, in nats, smoothed over about 20 steps."""
    learning_rate: float
    sentences_per_second: float


def learning_rate_factor(step: int, steps: int, warmup_ratio: float) -> float:
    """Linear warm-up, then a cosine to zero; `step` counts from 0."""
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(
    model: Any,
    prefix: Sequence[int],
    examples: Sequence[Example],
    settings: TrainSettings,
    folder: Path,
    *,
    identity: dict[str, Any],
    resume: bool = False,
    rounding: Rounding | None = None,
    teacher: Any = None,
    report: Callable[[StepReport], None] = lambda _: None,
) -> None:
    """Train the adapter of `model` (a peft model) in place, with checkpoints in `folder`.

    A checkpoint is resumed only by a run with the same `identity`. With a `rounding` the model is
    trained, and left, as rounded; with a `teacher`, to answer as that does, not as the labels say.

    Under `torchrun` each process takes its share of every batch and the gradients are summed, so
    the result does not depend on the number of processes but for rounding.
    """
    rank, world = rank_and_world()
    base = model.get_base_model()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    per_epoch = math.ceil(len(examples) / settings.batch_size)
    steps = count_steps(len(examples), settings)
    first_step, mean_loss = 0, 0.0
    if resume and (state := load_checkpoint(folder, model, optimizer, identity)):
        first_step, mean_loss = state["step"], state["loss"]
        if rounding:
            rounding.refresh(model, state["rounded"])

    lengths = [len(example) for example in examples]
    model.train()
    plan: list[list[int]] = []
    for step in range(first_step, steps):
        started = time.perf_counter()
        if rounding and step % settings.round_every == 0:
            rounding.refresh(model)
        epoch, position = divmod(step, per_epoch)
        if position == 0 or not plan:
            plan = plan_epoch(lengths, settings.batch_size, settings.seed, epoch)
        batch = [examples[i] for i in plan[position]]
        targets = sum(len(example.response) for example in batch)
        shares = [batch[i::world] for i in range(world)] if settings.shard else []
        total = add_gradients(
            base,
            prefix,
            batch[rank::world],
            targets,
            settings.max_tokens,
            teacher=teacher,
            in_step_with=shares,
        )
        if world > 1:
            sum_over_processes(weights, total)
        rate = settings.learning_rate * learning_rate_factor(step, steps, settings.warmup_ratio)
        _update(optimizer, weights, rate, settings.max_grad_norm)
        mean_loss += (total.item() - mean_loss) / min(step + 1, 20)
        if rank == 0:
            done = step + 1
            if done % settings.checkpoint_every == 0 or done == steps:
                state = {"step": done, "loss": mean_loss, "settings": identity}
                state["rounded"] = rounding.adapter if rounding else None
                save_checkpoint(folder, model, optimizer, state)
            speed = len(batch) / (time.perf_counter() - started)
            report(StepReport(done, steps, mean_loss, rate, speed))
    if rounding:
        rounding.refresh(model)
    model.eval()


def run_identity(
    settings: TrainSettings,
    prefix: Sequence[int],
    examples: Sequence[Example],
    origin: Mapping[str, str | None],
) -> dict[str, Any]:
    """All that decides the outcome of a run; `origin` is what it starts from, by flag."""
    decisive = {k: v for k, v in asdict(settings).items() if "check" not in k and k != "shard"}
    return {
        **decisive,
        **origin,
        "steps": count_steps(len(examples), settings),
        "data": zlib.crc32(repr((prefix, examples)).encode()),
    }


def count_steps(examples: int, settings: TrainSettings) -> int:
    """Optimizer steps of a whole run."""
    return math.ceil(math.ceil(examples / settings.batch_size) * settings.epochs)


def add_gradients(
    base: Any,
    prefix: Sequence[int],
    batch: Sequence[Example],
    targets: int,
    max_tokens: int,
    *,
    teacher: Any = None,
    in_step_with: Sequence[Sequence[Example]] = (),
) -> torch.Tensor:
    """Add the gradient of the loss of `batch`, a sum over tokens divided by `targets`, in packed
    sequences of at most `max_tokens`; returns that loss. Raises `NerEdgeError` if it is no number.

    Processes that share out a base must all pass through it equally often: as often as the longest
    of `in_step_with`, the shares of all, needs.
    """
    parts = list(split_by_tokens(batch, len(prefix), max_tokens))
    counts = [len(list(split_by_tokens(s, len(prefix), max_tokens))) for s in in_step_with]
    idle = max([len(parts), *counts]) - len(parts)
    total = torch.zeros(())
    weighted = [(part, 1 / targets) for part in parts]
    weighted += [(list(in_step_with[0][:1]), 0.0) for _ in range(idle)]
    for part, weight in weighted:
        packed = pack(prefix, part, base.device, base.dtype)
        loss = packed_loss(base, packed, teacher) * weight
        loss.backward()
        total += loss.detach().cpu()
    if not total.isfinite():
        raise NerEdgeError(
            f"the loss is {total.item()}: the weights of base or adapter are damaged, or "
            "the learning rate is too high"
        )
    return total


def _update(
    optimizer: torch.optim.Optimizer, weights: Sequence[torch.Tensor], rate: float, max_norm: float
) -> None:
    """One step by the gradients there are, which are then forgotten."""
    torch.nn.utils.clip_grad_norm_(weights, max_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()
