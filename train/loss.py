"""The training loss, over response tokens only: cross-entropy, or KL divergence from a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ner_edge.train.packing import PackedBatch
from ner_edge.train.word_head import WordHeadModule

ROWS = 128  # tokens per chunk, whose logits then fit the processor's cache


class _HeadCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of `hidden` [R, dim] through a frozen `head` [vocabulary, dim].

    Computed in chunks together with its gradient, so that the [R, vocabulary] logits, the largest
    tensor of a step, never exist as a whole.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        gradient = torch.empty_like(hidden)
        precision = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), device=hidden.device, dtype=precision)
        for start in range(0, len(targets), ROWS):
            rows = slice(start, start + ROWS)
            target = targets[rows, None]
            logits = (hidden[rows] @ head.t()).to(precision)
            logits -= logits.amax(1, keepdim=True)
            chosen = logits.gather(1, target)
            normalizer = logits.exp_().sum(1, keepdim=True)
            total += (normalizer.log() - chosen).sum()
            probabilities = logits.div_(normalizer)
            probabilities.scatter_add_(1, target, -torch.ones_like(chosen))
            gradient[rows] = probabilities.to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None


class _HeadDivergence(torch.autograd.Function):
    """Summed KL(p ‖ q) of a teacher's distributions p and a student's q, each computed from hidden
    states [R, dim] through a frozen head [vocabulary, dim]; in chunks, as above."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        teacher_hidden: torch.Tensor,
        teacher_head: torch.Tensor,
    ) -> torch.Tensor:
        gradient = torch.empty_like(hidden)
        precision = torch.promote_types(hidden.dtype, torch.float32)
        total = torch.zeros((), device=hidden.device, dtype=precision)
        for start in range(0, len(hidden), ROWS):
            rows = slice(start, start + ROWS)
            log_q = (hidden[rows] @ head.t()).to(precision).log_softmax(1)
            log_p = (teacher_hidden[rows] @ teacher_head.t()).to(precision).log_softmax(1)
            p = log_p.exp()
            total += (p * log_p.sub_(log_q)).sum()
            gradient[rows] = log_q.exp_().sub_(p).to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None, None


def word_losses(
    head: WordHeadModule, states: Sequence[torch.Tensor], batch: PackedBatch
) -> dict[int, torch.Tensor]:
    """Return for each depth of the head the cross-entropy of the tags in nats, summed over the
    words of `batch`. `states` are the hidden states [1, T, dim] before the first layer and after
    each.
    """
    return {
        depth: torch.nn.functional.cross_entropy(
            head(states[depth][0, batch.words], depth), batch.tags, reduction="sum"
        )
        for depth in head.depths
    }


@dataclass(frozen=True)
class Losses:
    """Sums over a packed batch, in nats."""

    answer: torch.Tensor
    """Over all response tokens."""
    words: dict[int, torch.Tensor]
    """Over all tagged words, by the depth of the head; empty without one."""


def packed_losses(
    model: Any, batch: PackedBatch, teacher: Any = None, head: WordHeadModule | None = None
) -> Losses:
    """Return the losses of `batch`: of the answers, cross-entropy or, with a `teacher`, the KL
    divergence from its next-token distributions; and of the words' tags.

    Both models are transformers causal language models with shared-prefix attention. Logits are
    computed only where a response token is predicted.
    """
    tagged = head is not None and len(batch.words) > 0
    output = read_packed(model, batch, all_states=tagged)
    hidden = output.last_hidden_state[0, batch.predictors]
    matrix = model.lm_head.weight
    words = word_losses(head, output.hidden_states, batch) if head is not None and tagged else {}
    answer: torch.Tensor
    if teacher is None:
        answer = _HeadCrossEntropy.apply(hidden, matrix, batch.targets)  # type: ignore[no-untyped-call]
        return Losses(answer, words)
    with torch.no_grad():
        wanted = read_packed(teacher, batch).last_hidden_state[0, batch.predictors]
    answer = _HeadDivergence.apply(hidden, matrix, wanted, teacher.lm_head.weight)  # type: ignore[no-untyped-call]
    return Losses(answer, words)


def packed_loss(model: Any, batch: PackedBatch, teacher: Any = None) -> torch.Tensor:
    """Return the loss of the answers alone, summed over the response tokens of `batch`."""
    return packed_losses(model, batch, teacher).answer


def read_packed(model: Any, batch: PackedBatch, *, all_states: bool = False) -> Any:
    """Return transformers' output for a packed sequence: the last hidden states, [1, T, dim], and,
    with `all_states`, those before the first layer and after each."""
    return model.model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        layout=batch.layout,
        use_cache=False,
        output_hidden_states=all_states,
    )
