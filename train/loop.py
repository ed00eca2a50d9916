"""The training loop."""

import random
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import NerEdgeError
from ner_edge.hf.prompts import Example
from ner_edge.train.batches import Schedule, split_by_tokens
from ner_edge.train.best import BestAdapter
from ner_edge.train.checkpoint import load_checkpoint, save_checkpoint
from ner_edge.train.dev import Dev
from ner_edge.train.learning_rate import LearningRate
from ner_edge.train.loss import packed_losses
from ner_edge.train.packing import pack
from ner_edge.train.processes import rank_and_world, sum_over_processes
from ner_edge.train.recover import Rounding
from ner_edge.train.settings import TrainSettings
from ner_edge.train.word_head import WordHeadModule, word_head_of

_SMOOTHED = 20  # steps


@dataclass(frozen=True)
class StepReport:
    """The progress of a run after an optimizer step."""

    step: int
    steps: int
    loss: float
    """Mean over the response tokens, in nats, smoothed over about 20 steps."""
    word_loss: float
    """The word head's mean over the words, in nats, times its weight; 0 without one."""
    learning_rate: float
    sentences_per_second: float


def train(
    model: Any,
    prefix: Sequence[int],
    examples: Sequence[Example],
    schedule: Schedule,
    settings: TrainSettings,
    folder: Path,
    *,
    identity: dict[str, Any],
    resume: bool = False,
    rounding: Rounding | None = None,
    teacher: Any = None,
    best: BestAdapter | None = None,
    deadline: float | None = None,
    report: Callable[[StepReport], None] = lambda _: None,
) -> int:
    """Train the adapter of `model` (a peft model) in place, with checkpoints in `folder`; return
    the number of steps made.

    Only a run with the same `identity` can resume a checkpoint. With a `rounding`, the model has
    rounded weights during training and afterwards. With a `teacher`, its distributions are the
    target instead of the labels. With `best`, the model ends with the best adapter of all
    checkpoints. After the `deadline`, in seconds of `time.monotonic`, no further step begins; the
    learning rate falls with the time then, where it is ahead of the steps.

    Under `torchrun`, each process takes its share of every batch, and gradients are summed, so the
    number of processes affects the result only by floating-point rounding.
    """
    rank, world = rank_and_world()
    base = model.get_base_model()
    head = word_head_of(model)
    own = list(head.parameters()) if head else []
    adapter = [w for w in model.parameters() if w.requires_grad and not any(w is h for h in own)]
    weights = adapter + own
    groups = [{"params": adapter, "factor": 1.0}, {"params": own, "factor": settings.word_rate}]
    optimizer = torch.optim.AdamW(
        groups if own else groups[:1],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )
    steps = schedule.steps
    learning_rate = LearningRate(settings, steps, deadline)
    first_step, mean_loss = 0, [0.0, 0.0]
    if resume and (state := load_checkpoint(folder, model, optimizer, identity)):
        first_step, mean_loss = state["step"], state["loss"]
        if rounding:
            rounding.refresh(model, state["rounded"])
        if best and state["best"]:
            best.load(state["best"])
    batches = schedule.batches_from(first_step)
    done = first_step
    model.train()
    for step in range(first_step, steps):
        started = time.perf_counter()
        if rounding and step % settings.round_every == 0:
            rounding.refresh(model)
        epoch = step // schedule.steps_per_epoch
        batch = [_as_read(examples[i], i, epoch, settings) for i in next(batches)]
        loss = add_gradients(
            base,
            prefix,
            batch[rank::world],
            LossWeights.of(batch, settings),
            settings.max_tokens,
            teacher=teacher,
            in_step_with=[batch[i::world] for i in range(world)] if settings.shard else (),
        )
        if world > 1:
            sum_over_processes(weights, loss)
        rate = learning_rate.of_step(step)
        _update(optimizer, rate, settings.max_grad_norm)
        done = step + 1
        for which, value in enumerate(loss.tolist()):
            mean_loss[which] += (value - mean_loss[which]) / min(done, _SMOOTHED)
        speed = len(batch) / (time.perf_counter() - started)
        is_last = done == steps or (deadline is not None and time.monotonic() > deadline)
        if done % settings.checkpoint_every == 0 or is_last:
            if best and (rank == 0 or settings.shard):  # a sharded base needs all processes
                best.consider(model, done, rounding)
            if rank == 0:
                state = {"step": done, "loss": mean_loss, "settings": identity}
                state["rounded"] = rounding.adapter if rounding else None
                state["best"] = best.state() if best else None
                save_checkpoint(folder, model, optimizer, state)
        if rank == 0:
            answer, words = mean_loss
            report(StepReport(done, steps, answer, words, rate, speed))
        if is_last:
            break
    if best and (rank == 0 or settings.shard):
        best.restore(model)
    if rounding:
        rounding.refresh(model)
    model.eval()
    return done


def run_identity(
    settings: TrainSettings,
    prefix: Sequence[int],
    examples: Sequence[Example],
    schedule: Schedule,
    origin: Mapping[str, str | None],
    dev: Sequence[Dev],
) -> dict[str, Any]:
    """Return everything that determines the result of a run; `origin` is its start by flag, `dev`
    the sentences that are measured at checkpoints.

    Only a checkpoint with the same values is resumed.
    """
    decisive = {k: v for k, v in asdict(settings).items() if "check" not in k and k != "shard"}
    if settings.keep_best:
        decisive |= {"checkpoint_every": settings.checkpoint_every, "--dev": _digest(dev)}
    return {
        **decisive,
        **origin,
        "steps": schedule.steps,
        "data": _digest((prefix, examples)),
        "weights of the data": _digest(schedule.shares),
    }


def _digest(value: object) -> int:
    return zlib.crc32(repr(value).encode())


def _as_read(example: Example, index: int, epoch: int, settings: TrainSettings) -> Example:
    if not example.sentence or not example.response:
        return example
    drawn = random.Random(f"{settings.seed}/{epoch}/{index}").random()
    return example if drawn >= settings.causal_share else Example(example.prompt, example.response)


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses summed over parts of a batch."""

    answer: float
    word: float = 0.0
    early_word: float = 0.0

    @classmethod
    def of(cls, batch: Sequence[Example], settings: TrainSettings) -> "LossWeights":
        """Return the factors that make means over the response tokens and the words of a batch.

        Where some examples have no response, those of the others count no more than elsewhere.
        """
        written = [len(example.response) for example in batch if example.response]
        words = max(1, sum(len(example.word_ends) for example in batch))
        word = settings.word_loss / words
        answer = len(written) / len(batch) / sum(written) if written else 0.0
        return cls(answer, word, word * settings.early_loss)


def add_gradients(
    base: Any,
    prefix: Sequence[int],
    batch: Sequence[Example],
    weights: LossWeights,
    max_tokens: int,
    *,
    teacher: Any = None,
    in_step_with: Sequence[Sequence[Example]] = (),
) -> torch.Tensor:
    """Add the gradients of the losses of `batch`, sums times `weights`, in packed sequences of up
    to `max_tokens`. Return the losses of the answers and of the last word head, weighted, [2].

    Processes that share a base must run the same number of forward passes, so each runs as many as
    the longest of `in_step_with`, the shares of all processes, needs. Raises `NerEdgeError` if the
    loss is not finite.
    """
    parts = list(split_by_tokens(batch, len(prefix), max_tokens))
    counts = [len(list(split_by_tokens(s, len(prefix), max_tokens))) for s in in_step_with]
    idle = max([len(parts), *counts]) - len(parts)
    total = torch.zeros(2)
    head: WordHeadModule | None = getattr(base, "word_head", None)
    weighted = [(part, 1.0) for part in parts]
    weighted += [(list(in_step_with[0][:1]), 0.0) for _ in range(idle)]
    for part, share in weighted:
        packed = pack(prefix, part, base.device, base.dtype)
        losses = packed_losses(base, packed, teacher, head)
        answer = losses.answer * weights.answer * share
        loss = answer
        for depth, words in losses.words.items():
            is_last = head is not None and depth == head.last
            loss = loss + words * (weights.word if is_last else weights.early_word) * share
            if is_last:
                total[1] += (words.detach() * weights.word * share).cpu()
        loss.backward()
        total[0] += answer.detach().cpu()
    if not total.isfinite().all():
        raise NerEdgeError(
            f"the loss is {total.sum().item()}: lower learning_rate with --set, or check that base "
            "and adapter are undamaged"
        )
    return total


def _update(optimizer: torch.optim.Optimizer, rate: float, max_norm: float) -> None:
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], max_norm)
        group["lr"] = rate * group["factor"]
    optimizer.step()
    optimizer.zero_grad()
