"""The training loss: cross-entropy of the response tokens, and of nothing else."""

from typing import Any

import torch

from ner_edge.train.packing import PackedBatch

ROWS = 128  # so that the logits of one chunk stay in the cache


class _HeadCrossEntropy(torch.autograd.Function):
    """Summed cross-entropy of `hidden` [R, dim] through a frozen `head` [vocabulary, dim].

    Chunk by chunk, with the gradient computed on the way: the [R, vocabulary] logits, the largest
    tensor of the whole step, never exist at once.
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
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0].to(gradient.dtype), None, None


def packed_loss(model: Any, batch: PackedBatch) -> torch.Tensor:
    """Cross-entropy summed over all response tokens of `batch`, in nats.

    `model` is a transformers causal language model with shared-prefix attention. Logits are
    computed at the positions that predict a response token only.
    """
    hidden = model.model(
        input_ids=batch.input_ids,
        position_ids=batch.position_ids,
        layout=batch.layout,
        use_cache=False,
    ).last_hidden_state
    total: torch.Tensor = _HeadCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden[0, batch.predictors], model.lm_head.weight, batch.targets
    )
    return total
