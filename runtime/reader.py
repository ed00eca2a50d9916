"""Read passages both ways: their tokens attend to one another, and the word head tags them.

llama.cpp switches between causal and full attention with `llama_set_causal_attn`. A batch of whole
passages must fit one micro-batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ner_edge.consistency import LogProbabilities, consistent
from ner_edge.passages import BREAK
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.batch import Run
from ner_edge.runtime.decoded import Passage
from ner_edge.runtime.llama import LlamaModel
from ner_edge.runtime.score import calibrated
from ner_edge.runtime.trie import ChunkTokenizer
from ner_edge.word_head import Reading, WordHead


class Tokenized(NamedTuple):
    """The tokens of a passage, and the index of each word's last one."""

    tokens: list[int]
    ends: list[int]


def tokenize_words(sentences: Passage, chunks: ChunkTokenizer) -> Tokenized:
    """Return the tokens of a passage, which are split at each space and after each sentence."""
    tokens: list[int] = []
    ends = []
    for words in sentences:
        tokens += chunks.tokens(BREAK) if tokens else []
        for number, word in enumerate(words):
            tokens += chunks.tokens(f" {word}" if number else word)
            ends.append(len(tokens) - 1)
    return Tokenized(tokens, ends)


class SentenceReader:
    """Reads and tags passages that follow the prefix of their prompts in a model's memory.

    With a `depth`, only so many layers are evaluated, and nothing can be written afterwards. The
    scores of entities are calibrated by `temperature`.
    """

    def __init__(
        self,
        model: LlamaModel,
        head: WordHead,
        prompts: PromptTokenizer,
        *,
        temperature: float = 1.0,
        depth: int | None = None,
    ) -> None:
        self._model = model
        self._head = head
        self._prefix = len(prompts.prefix)
        self._temperature = temperature
        self._depth = depth if depth != head.last else None

    def read(
        self, passages: Sequence[tuple[int, Passage, Tokenized]]
    ) -> list[list[LogProbabilities]]:
        """Read passages, each with its sequence, in one batch. Return the log-probabilities of the
        tags of their sentences, [words, tags] each."""
        runs = [
            Run(sequence, self._prefix, tokenized.tokens, tokenized.ends)
            for sequence, _, tokenized in passages
        ]
        states = self._model.read(runs, depth=self._depth)
        depth = self._depth or self._head.last
        tags = []
        for (_, sentences, _), of_words in zip(passages, states, strict=True):
            ends = np.cumsum([len(words) for words in sentences])
            tags.append(np.split(self._head.log_probabilities(of_words, depth), ends[:-1]))
        return tags

    def tag(
        self, sentences: Sequence[Sequence[str]], tags: Sequence[LogProbabilities]
    ) -> list[Reading]:
        """Tag all sentences of a document, given what reading them has returned."""
        readings = [
            self._head.tag(words, log_p)
            for words, log_p in zip(sentences, consistent(sentences, tags), strict=True)
        ]
        return [
            reading._replace(spans=calibrated(reading.spans, self._temperature))
            for reading in readings
        ]
