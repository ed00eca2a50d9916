"""Prompts and answers of a task as token ids of a Hugging Face tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.task import Task


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

    def prompt(self, words: Sequence[str]) -> list[int]:
        """Encode what stands between the prefix and the answer."""
        return self._encode(" ".join(words)) + self._suffix

    def example(self, sentence: Sentence) -> Example:
        """Encode the prompt and the bracketed answer with its final newline."""
        answer = write_brackets(sentence.words, sentence.spans) + "\n"
        return Example(self.prompt(sentence.words), self._encode(answer))

    def _encode(self, text: str, special: bool = False) -> list[int]:
        # A user's text is never parsed for special tokens.
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special
        ).input_ids
        return ids
