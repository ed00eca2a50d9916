"""The training loss, over response tokens only: cross-entropy, or KL divergence from a teacher."""

from typing import Any

import torch

from ner_edge.train.packing import PackedBatch

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


def packed_loss(model: Any, batch: PackedBatch, teacher: Any = None) -> torch.Tensor:
    """Return the loss in nats, summed over the response tokens of `batch`: cross-entropy or, with a
    `teacher`, the KL divergence from its next-token distributions.

    Both models are transformers causal language models with shared-prefix attention. Logits are
    computed only where a response token is predicted.
    """
    hidden, head = _predicting_states(model, batch), model.lm_head.weight
    total: torch.Tensor
    if teacher is None:
        total = _HeadCrossEntropy.apply(hidden, head, batch.targets)  # type: ignore[no-untyped-call]
        return total
    with torch.no_grad():
        wanted = _predicting_states(teacher, batch)
    total = _HeadDivergence.apply(hidden, head, wanted, teacher.lm_head.weight)  # type: ignore[no-untyped-call]
    return total


def _predicting_states(model: Any, batch: PackedBatch) -> torch.Tensor:
    states: torch.Tensor = model.model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        layout=batch.layout,
        use_cache=False,
    ).last_hidden_state
    return states[0, batch.predictors]
