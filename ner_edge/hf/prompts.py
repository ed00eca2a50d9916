"""Prompts and answers of a task as token ids of a Hugging Face tokenizer."""

from dataclasses import dataclass
from typing import Any

from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.prompt import PromptTokenizer
from ner_edge.task import Task


@dataclass(frozen=True)
class Example:
    """Token ids of one sentence: `prompt` (after the shared prefix) and `response`."""

    prompt: list[int]
    response: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


class PromptEncoder(PromptTokenizer):
    """Tokenizes prompts and answers with a Hugging Face tokenizer."""

    def __init__(self, tokenizer: Any, task: Task) -> None:
        self._tokenizer = tokenizer
        self.task = task
        super().__init__(task.prefix, task.suffix, self._encode)

    def example(self, sentence: Sentence) -> Example:
        """Return the prompt and the bracketed answer with its closing newline."""
        answer = write_brackets(sentence.words, sentence.spans) + "\n"
        return Example(self.prompt(sentence.words), self._encode(answer))

    def _encode(self, text: str, *, special: bool = False, start: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special
        ).input_ids
        return self._begin() + ids if start else ids

    def _begin(self) -> list[int]:
        bos = self._tokenizer.bos_token_id
        adds_bos = self._tokenizer("a").input_ids[:1] == [bos]
        return [bos] if adds_bos else []
