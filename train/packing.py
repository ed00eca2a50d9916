"""Labelled sentences as token ids, packed behind one shared prompt prefix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ner_edge.brackets import write_brackets
from ner_edge.corpus import Sentence
from ner_edge.task import Task
from ner_edge.train.attention import PrefixLayout

IGNORED = -100  # the label that cross-entropy skips


@dataclass(frozen=True)
class Example:
    """Token ids of one sentence: `prompt` (after the shared prefix) and `response`."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


class PromptEncoder:
    """Turns a task's prompts and responses into token ids with a Hugging Face tokenizer."""

    def __init__(self, tokenizer: Any, task: Task) -> None:
        self._tokenizer = tokenizer
        self.task = task
        bos = tokenizer.bos_token_id
        adds_bos = tokenizer("a").input_ids[:1] == [bos]
        self.prefix: list[int] = [bos] if adds_bos else []
        self.prefix += self._encode(task.prefix, special=True)
        self._suffix = self._encode(task.suffix, special=True)

    def prompt(self, sentence: Sentence) -> list[int]:
        """What follows the prefix up to the answer."""
        return self._encode(sentence.text) + self._suffix

    def example(self, sentence: Sentence) -> Example:
        """The prompt and the bracketed answer with its closing newline."""
        answer = write_brackets(sentence.words, sentence.spans) + "\n"
        return Example(self.prompt(sentence), self._encode(answer))

    def _encode(self, text: str, special: bool = False) -> list[int]:
        # A user's text is never parsed for special tokens.
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special
        ).input_ids
        return ids


@dataclass(frozen=True)
class PackedBatch:
    """One packed sequence of T tokens.

    `input_ids`, `position_ids` are [1, T]. `predictors` [R] are the positions whose next token is
    part of a response, `targets` [R] those next tokens.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    predictors: torch.Tensor
    targets: torch.Tensor
    layout: PrefixLayout


def pack(
    prefix: Sequence[int],
    examples: Sequence[Example],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PackedBatch:
    """Put `examples` behind one `prefix`; positions restart after it for each."""
    ids, positions = list(prefix), list(range(len(prefix)))
    predictors: list[int] = []
    targets: list[int] = []
    for example in examples:
        # The last token of a response predicts nothing, so it need not be computed.
        answer_start = len(ids) + len(example.prompt)
        predictors += range(answer_start - 1, answer_start - 1 + len(example.response))
        targets += example.response
        ids += example.prompt + example.response[:-1]
        positions += range(len(prefix), len(prefix) + len(example) - 1)
    layout = PrefixLayout.of(len(prefix), [len(example) - 1 for example in examples], device, dtype)
    return PackedBatch(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(predictors, device=device),
        torch.tensor(targets, device=device),
        layout,
    )
