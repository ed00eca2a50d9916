"""Labelled sentences as token ids, packed behind one shared prompt prefix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ner_edge.hf.prompts import Example
from ner_edge.train.attention import PrefixLayout


@dataclass(frozen=True)
class PackedBatch:
    """One packed sequence of T tokens.

    `input_ids`, `position_ids` are [1, T]. `predictors` [R] are the positions whose next token is
    part of a response, and `targets` [R] are those next tokens. `words` [W] are the positions of
    the last tokens of all tagged words, and `tags` [W] are their tags.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    words: torch.Tensor
    tags: torch.Tensor
    layout: PrefixLayout


def pack(
    prefix: Sequence[int],
    examples: Sequence[Example],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PackedBatch:
    """Pack `examples` behind one `prefix`; the positions of each example continue the prefix."""
    ids, positions = list(prefix), list(range(len(prefix)))
    predictors: list[int] = []
    targets: list[int] = []
    words: list[int] = []
    tags: list[int] = []
    for example in examples:
        answer_start = len(ids) + len(example.prompt)
        predictors += range(answer_start - 1, answer_start - 1 + len(example.response))
        targets += example.response
        words += [len(ids) + end for end in example.word_ends]
        tags += example.tags
        ids += example.fed
        positions += range(len(prefix), len(prefix) + len(example.fed))
    layout = PrefixLayout.of(
        len(prefix),
        [len(example.fed) for example in examples],
        device,
        dtype,
        [example.sentence for example in examples],
    )
    return PackedBatch(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(predictors, device=device, dtype=torch.long),
        torch.tensor(targets, device=device, dtype=torch.long),
        torch.tensor(words, device=device, dtype=torch.long),
        torch.tensor(tags, device=device, dtype=torch.long),
        layout,
    )
