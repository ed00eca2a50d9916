"""Read sentences both ways: their tokens attend to one another, and the word head tags them.

llama.cpp switches between causal and full attention with `llama_set_causal_attn`. A batch of whole
sentences must fit one micro-batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import LlamaModel
from ner_edge.runtime.score import calibrated
from ner_edge.runtime.trie import ChunkTokenizer
from ner_edge.word_head import Reading, WordHead


class Tokenized(NamedTuple):
    """The tokens of a sentence, and the index of each word's last one."""

    tokens: list[int]
    ends: list[int]


def tokenize_words(words: Sequence[str], chunks: ChunkTokenizer) -> Tokenized:
    """Return the tokens of a sentence, which are split at each space."""
    tokens: list[int] = []
    ends = []
    for number, word in enumerate(words):
        tokens += chunks.tokens(f" {word}" if number else word)
        ends.append(len(tokens) - 1)
    return Tokenized(tokens, ends)


class SentenceReader:
    """Reads and tags sentences that follow the prefix of their prompts in a model's memory.

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

    def read(self, sentences: Sequence[tuple[int, Sequence[str], Tokenized]]) -> list[Reading]:
        """Read sentences, each with its sequence, in one batch, and tag them."""
        runs = [
            Run(sequence, self._prefix, tokenized.tokens, tokenized.ends)
            for sequence, _, tokenized in sentences
        ]
        states = self._model.read(runs, depth=self._depth)
        depth = self._depth or self._head.last
        readings = []
        for (_, words, _), of_words in zip(sentences, states, strict=True):
            reading = self._head.tag(words, of_words, depth)
            spans = calibrated(reading.spans, self._temperature)
            readings.append(reading._replace(spans=spans))
        return readings
