"""Attention for sequences that share one prefix.

A packed sequence is `prefix, example 1, example 2, ...`; each example attends to the prefix and to
itself. A mask over the whole sequence would compute the scores of every pair of examples, only to
discard them. Instead, the examples become the rows of a padded batch, each with the keys of the
prefix before its own.

Sliding windows are ignored: preflight refuses prompts and answers longer than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

NAME = "ner_edge_shared_prefix"


@dataclass(frozen=True)
class PrefixLayout:
    """The places of the prefix and the examples in a packed sequence of T tokens.

    The examples become the rows of a batch of shape `rows`, (examples, longest). `place`
    [T - prefix] holds the position of each of their tokens in the flattened rows. The attention
    biases are 0 where a token may attend and -inf elsewhere: `bias` [examples, longest, prefix +
    longest], or [1, ...] if all examples are read causally (padding comes last, where the causal
    mask hides it already), and `prefix_bias` [1, prefix, prefix].
    """

    prefix: int
    rows: tuple[int, int]
    place: torch.Tensor
    bias: torch.Tensor
    prefix_bias: torch.Tensor

    @classmethod
    def of(
        cls,
        prefix: int,
        lengths: Sequence[int],
        device: torch.device | str,
        dtype: torch.dtype,
        both_ways: Sequence[int] = (),
    ) -> "PrefixLayout":
        """Return the layout of a prefix of `prefix` tokens and examples of `lengths` tokens, of
        which the first `both_ways` attend to one another in both directions."""
        longest = max(lengths)
        column = torch.arange(longest)
        length = torch.tensor(lengths)
        valid = column < length[:, None]
        place = valid.flatten().nonzero().squeeze(1)
        own = _causal_bias(longest)
        if any(both_ways):
            own = own.repeat(len(lengths), 1, 1)
            for row, width in zip(own, both_ways, strict=True):
                row[:width, :width] = 0
        bias = torch.cat([torch.zeros(len(own), longest, prefix), own], dim=2)
        return cls(
            prefix,
            (len(lengths), longest),
            place.to(device),
            bias.to(device, dtype),
            _causal_bias(prefix).to(device, dtype),
        )


def _causal_bias(length: int) -> torch.Tensor:
    return torch.full((1, length, length), -torch.inf).triu(1)


def shared_prefix_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    layout: PrefixLayout,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Compute the attention of a packed sequence, with the signature that transformers calls.

    Query [1, heads, T, dim], key and value [1, kv heads, T, dim] → output [1, T, heads, dim].
    """
    heads, kv_heads, dim = query.shape[1], key.shape[1], query.shape[3]
    examples, longest = layout.rows
    group = heads // kv_heads  # query heads per key head
    prefix = layout.prefix

    def fold(x: torch.Tensor) -> torch.Tensor:  # [1, heads, t, dim] → [1, kv heads, group*t, dim]
        return x.reshape(1, kv_heads, -1, dim)

    def to_rows(x: torch.Tensor) -> torch.Tensor:  # [1, h, T, dim] → [examples, h, longest, dim]
        padded = x.new_zeros(x.shape[1], examples * longest, x.shape[3])
        padded = padded.index_copy(1, layout.place, x[0, :, prefix:])
        return padded.view(-1, examples, longest, x.shape[3]).transpose(0, 1)

    def with_prefix(x: torch.Tensor) -> torch.Tensor:
        shared = x[:, :, :prefix].expand(examples, -1, -1, -1)
        return torch.cat([shared, to_rows(x)], dim=2)

    head = _attend(
        fold(query[:, :, :prefix]),
        key[:, :, :prefix],
        value[:, :, :prefix],
        layout.prefix_bias,
        scaling,
    ).reshape(1, heads, prefix, dim)
    body = _attend(
        to_rows(query).reshape(examples, kv_heads, group * longest, dim),
        with_prefix(key),
        with_prefix(value),
        layout.bias,
        scaling,
    )
    body = body.reshape(examples, heads, longest, dim).permute(0, 2, 1, 3).flatten(0, 1)
    body = body.index_select(0, layout.place)
    return torch.cat([head.transpose(1, 2), body[None]], dim=1), None


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor, scaling: float
) -> torch.Tensor:
    group = query.shape[2] // bias.shape[1]
    # Not the fused kernels: on a CPU their backward pass is slow for rows this short, and with them
    # the loss of Qwen2.5 became NaN on an H100.
    scores = (query.float() * scaling) @ key.float().transpose(2, 3)
    weights = (scores.unflatten(2, (group, -1)) + bias[:, None, None]).softmax(-1).flatten(2, 3)
    out: torch.Tensor = weights.to(value.dtype) @ value
    return out


AttentionInterface.register(NAME, shared_prefix_attention)
