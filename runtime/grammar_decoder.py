"""The copy automaton run by llama.cpp's own grammar sampler, token by token.

It is slow, and the reference for the copy engine.
"""

import ctypes
import math
from collections.abc import Sequence

import llama_cpp
import numpy as np

from ner_edge.brackets import parse_brackets, write_brackets
from ner_edge.errors import NerEdgeError
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.batch import Run
from ner_edge.runtime.decoded import Decoded, Take
from ner_edge.runtime.grammar import gbnf
from ner_edge.runtime.llama import PREFIX, LlamaModel
from ner_edge.runtime.score import calibrated, entity_score
from ner_edge.spans import ScoredSpan

_SENTENCE = PREFIX + 1
_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class GrammarDecoder:
    """Decodes sentences one at a time, greedily, under a GBNF grammar made for each.

    The grammar determines the text, not its tokens: the model may spell a word with unusual ones.
    The decisions that make up a score are then all tokens from bracket to bracket, each with its
    probability among the legal tokens; `temperature` calibrates it. With `both_ways`, the sentence
    is read in both directions.
    """

    def __init__(
        self,
        model: LlamaModel,
        labels: Sequence[str],
        prompts: PromptTokenizer,
        *,
        temperature: float = 1.0,
        both_ways: bool = False,
    ) -> None:
        self._model = model
        self._temperature = temperature
        self._both_ways = both_ways
        self._labels = labels
        self._prompts = prompts
        self._candidates = np.zeros(model.vocabulary_size, _CANDIDATE)
        model.drop_head()  # the sampler needs the logits of every token

    def step(self, take: Take) -> None:
        """Take a request and set its results."""
        if request := take():
            for place, words in enumerate(request.sentences):
                if place not in request.found:
                    request.found[place] = self._decode(words)

    def drop_cancelled(self) -> None:
        """Do nothing: no request is in flight between two steps."""

    def reset(self) -> None:
        """Do nothing, likewise."""

    def _decode(self, words: Sequence[str]) -> Decoded:
        grammar = gbnf(words, self._labels).encode("utf-8")
        sampler = llama_cpp.llama_sampler_init_grammar(self._model.vocab, grammar, b"root")
        if not sampler:
            raise NerEdgeError("llama.cpp refuses the grammar of this sentence")
        try:
            pieces, log_ps = self._write(words, sampler)
        finally:
            llama_cpp.llama_sampler_free(sampler)
            self._model.forget(_SENTENCE, 0)
        spans = _scored_spans(pieces, log_ps, words, self._labels)
        return Decoded(calibrated(spans, self._temperature))

    def _write(self, words: Sequence[str], sampler: object) -> tuple[list[bytes], list[float]]:
        self._model.share(PREFIX, _SENTENCE)
        tokens = self._prompts.prompt(words)
        position = len(self._prompts.prefix)
        if self._both_ways:
            sentence = tokens[: len(tokens) - len(self._prompts.suffix)]
            self._model.read([Run(_SENTENCE, position, sentence, [])])
            position += len(sentence)
            tokens = tokens[len(sentence) :]
        pieces: list[bytes] = []
        log_ps: list[float] = []
        while not pieces or not pieces[-1].endswith(b"\n"):
            for start in range(0, len(tokens), self._model.batch_size):
                part = tokens[start : start + self._model.batch_size]
                rows = self._model.decode([Run(_SENTENCE, position, part, [len(part) - 1])])
                position += len(part)
            token, log_p = self._choose(sampler, rows[0][len(part) - 1])
            llama_cpp.llama_sampler_accept(sampler, token)
            pieces.append(self._model.piece(token))
            log_ps.append(log_p)
            tokens = [token]
        return pieces, log_ps

    def _choose(self, sampler: object, row: int) -> tuple[int, float]:
        """Return the most probable legal token and its log-probability among the legal ones."""
        candidates = self._candidates
        candidates["id"] = np.arange(len(candidates))
        candidates["logit"] = self._model.all_logits(row)
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        logits = candidates["logit"]
        best = int(logits.argmax())
        if not math.isfinite(logits[best]):
            raise NerEdgeError("no token continues the grammar; is the model damaged?")
        log_p = -math.log(float(np.exp(logits - logits[best], dtype=np.float64).sum()))
        return int(candidates["id"][best]), log_p


def _scored_spans(
    pieces: Sequence[bytes], log_ps: Sequence[float], words: Sequence[str], labels: Sequence[str]
) -> list[ScoredSpan]:
    output = b"".join(pieces).decode("utf-8")
    ends = np.cumsum([len(piece) for piece in pieces])
    spans = parse_brackets(output, words, labels).spans
    scored = []
    for i, (start, end, label) in enumerate(spans):
        before = write_brackets(words[:start], spans[:i])
        begin = len(before.encode()) + (1 if before else 0)
        stop = len(write_brackets(words[:end], spans[: i + 1]).encode())
        first, last = np.searchsorted(ends, [begin, stop - 1], side="right")
        score = entity_score(log_ps[first : last + 1])
        scored.append(ScoredSpan(start, end, label, score))
    return scored
