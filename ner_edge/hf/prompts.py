"""Prompts and answers of a task as token ids of a Hugging Face tokenizer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from ner_edge.brackets import write_brackets
from ner_edge.data.corpus import Sentence
from ner_edge.passages import BREAK
from ner_edge.prompt import PromptTokenizer
from ner_edge.tags import tags_of
from ner_edge.task import Task


@dataclass(frozen=True)
class Example:
    """Token ids of one sentence: `prompt` (after the shared prefix) and `response`."""

    prompt: list[int]
    response: list[int]
    sentence: int = 0
    """The first so many tokens of the prompt are the sentence, which attends to itself in both
    directions; 0 means that all is read causally."""
    word_ends: Sequence[int] = ()
    """Where in the prompt the last token of each word stands, [words]."""
    tags: Sequence[int] = ()
    """The word's tags, as indices into `tag_set`, [words]."""

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)

    @property
    def fed(self) -> list[int]:
        """The tokens to evaluate; the last one of a response predicts nothing."""
        return self.prompt + self.response[:-1]


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

    def tagged_example(self, sentence: Sentence) -> Example:
        """Return the same to be read in both directions, with the tags of its words."""
        example = self.example(sentence)
        return replace(
            example,
            sentence=len(example.prompt) - len(self.suffix),
            word_ends=self.word_ends(sentence.words),
            tags=tags_of(sentence.spans, len(sentence.words), list(self.task.labels)),
        )

    def passage(self, passage: Sentence) -> Example:
        """Return sentences, with a `BREAK` between any two, to be read and tagged as one, without
        an answer."""
        labels = list(self.task.labels)
        tags = tags_of(passage.spans, len(passage.words), labels)
        tokens: list[int] = []
        ends: list[int] = []
        for is_break, words in groupby(passage.words, key=BREAK.__eq__):
            if is_break:
                continue
            sentence = list(words)
            tokens += self._encode(BREAK) if tokens else []
            ends += [len(tokens) + end for end in self.word_ends(sentence)]
            tokens += self._encode(" ".join(sentence))
        kept = [tag for tag, word in zip(tags, passage.words, strict=True) if word != BREAK]
        return Example(tokens, [], len(tokens), ends, kept)

    def word_ends(self, words: Sequence[str]) -> list[int]:
        """Return the index of the last token of each word in `prompt(words)`."""
        offsets = self._tokenizer(
            " ".join(words),
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        ).offset_mapping
        ends, token, end = [], 0, -1
        for word in words:
            end += 1 + len(word)
            # A character may take several tokens, each of which has it as its offset.
            while token + 1 < len(offsets) and offsets[token + 1][0] < end:
                token += 1
            ends.append(token)
        return ends

    def _encode(self, text: str, *, special: bool = False, start: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=not special
        ).input_ids
        return self._begin() + ids if start else ids

    def _begin(self) -> list[int]:
        bos = self._tokenizer.bos_token_id
        adds_bos = self._tokenizer("a").input_ids[:1] == [bos]
        return [bos] if adds_bos else []
