"""The loop of the copy decoder: continuous batching of many sentences in one context."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.batch import Run
from ner_edge.runtime.llama import PREFIX, LlamaModel
from ner_edge.runtime.policy import BoldPolicy, DraftPolicy
from ner_edge.runtime.sentence import SentenceDecoder
from ner_edge.runtime.trie import ChunkTokenizer
from ner_edge.spans import ScoredSpan

DECODER_VERSION = 2
"""Increment this with every change to either decoder that may alter entities or scores, even if
only by rounding, as another shape of batches does. Evaluation reuses cached predictions of the same
version only."""

SHARED_BATCH = 63
"""The most tokens of a batch of several sentences. From 64 on, llama.cpp's attention on CPUs works
in tiles of 64 tokens by 64 cells, and skips only tiles that are masked for every token."""


@dataclass
class _Slot:
    """A sentence in flight."""

    number: int
    sequence: int
    decoder: SentenceDecoder
    length: int
    """Tokens that its sequence has in the model's memory."""
    reserved: int
    """The most tokens that it may need."""


class CopyEngine:
    """Decodes several sentences at a time; each contributes the tokens up to its next decision.

    The sequence `PREFIX` of `model` must hold the prefix of `prompts`, with which all sequences
    begin. `in_flight` sentences share batches of at most `share` tokens and draft by `policy`; a
    sentence alone in its batch drafts by `policy_alone`.
    """

    def __init__(
        self,
        model: LlamaModel,
        labels: Sequence[str],
        prompts: PromptTokenizer,
        *,
        in_flight: int,
        share: int = SHARED_BATCH,
        policy: DraftPolicy | None = None,
        policy_alone: DraftPolicy | None = None,
    ) -> None:
        self._model = model
        self._labels = labels
        self._prompts = prompts
        self._prefix = len(prompts.prefix)
        self._in_flight = in_flight
        self._share = share
        self._policy = policy or DraftPolicy()
        self._policy_alone = policy_alone or policy or BoldPolicy()
        self.chunks = ChunkTokenizer(model.tokenize)
        self._bracket_tokens = _most_bracket_tokens(self.chunks, labels)

    def tokens_needed(self, words: Sequence[str]) -> int:
        """Return an upper bound on the tokens of a sentence in the context, without the prefix."""
        copied = 2 * len(self.chunks.of_words(words))
        return copied + len(self._prompts.suffix) + len(words) * self._bracket_tokens

    @property
    def longest(self) -> int:
        """The most tokens that one sentence may need."""
        return min(self._model.context_size, self._model.trained_context) - self._prefix

    def decode(self, sentences: Iterable[Sequence[str]]) -> Generator[list[ScoredSpan]]:
        """Yield the entities of each sentence, in order. None may need more than `longest`."""
        waiting = enumerate(sentences)
        arrived = next(waiting, None)
        free = list(range(self._in_flight, 0, -1))
        slots: list[_Slot] = []
        done: dict[int, list[ScoredSpan]] = {}
        to_yield = 0
        try:
            while slots or arrived is not None:
                while arrived is not None and free:
                    number, words = arrived
                    need = self.tokens_needed(words)
                    if slots and not self._has_room(slots, need):
                        break
                    policy = self._policy if slots else self._policy_alone
                    slots.append(self._admit(number, words, free.pop(), need, policy))
                    arrived = next(waiting, None)
                self._advance([slot for slot in slots if not slot.decoder.finished])
                for slot in [slot for slot in slots if slot.decoder.finished]:
                    slots.remove(slot)
                    self._model.forget(slot.sequence, 0)
                    free.append(slot.sequence)
                    done[slot.number] = slot.decoder.spans
                while to_yield in done:
                    yield done.pop(to_yield)
                    to_yield += 1
        finally:
            for slot in slots:
                self._model.forget(slot.sequence, 0)

    def _has_room(self, slots: Sequence[_Slot], need: int) -> bool:
        reserved = sum(slot.reserved for slot in slots)
        return self._prefix + reserved + need <= self._model.context_size

    def _admit(
        self, number: int, words: Sequence[str], sequence: int, need: int, policy: DraftPolicy
    ) -> _Slot:
        self._model.share(PREFIX, sequence)
        prompt = self._prompts.with_suffix(self.chunks.of_words(words))
        decoder = SentenceDecoder(words, self._labels, prompt, self.chunks, policy)
        return _Slot(number, sequence, decoder, self._prefix, need)

    def _advance(self, slots: Sequence[_Slot]) -> None:
        """Evaluate one batch of as many pending tokens as fit."""
        if not slots:
            return
        alone = len(slots) == 1
        room = self._model.batch_size if alone else min(self._share, self._model.batch_size)
        runs: list[Run] = []
        fed: list[_Slot] = []
        pieces: list[Run] = []
        for slot in slots:
            decoder = slot.decoder
            if decoder.certain <= room:
                decoder.shorten(room)
                runs.append(Run(slot.sequence, slot.length, decoder.pending, decoder.wanted))
                fed.append(slot)
                room -= len(decoder.pending)
            elif piece := decoder.feed_ahead(room):
                pieces.append(Run(slot.sequence, slot.length, piece, []))
                slot.length += len(piece)
                room -= len(piece)
        rows = self._model.decode(runs + pieces)
        for slot, run, row_of in zip(fed, runs, rows, strict=False):
            slot.decoder.policy = self._policy_alone if alone else self._policy
            accepted = slot.decoder.settle(partial(self._logits, row_of))
            slot.length += accepted
            if accepted < len(run.tokens):
                self._model.forget(slot.sequence, slot.length)

    def _logits(self, row_of: Mapping[int, int], index: int, tokens: Sequence[int]) -> list[float]:
        return self._model.logits(row_of[index], tokens)


def _most_bracket_tokens(chunks: ChunkTokenizer, labels: Sequence[str]) -> int:
    closing = max(len(chunks.tokens(f" {label}]\n")) for label in labels)
    return closing + len(chunks.tokens(" |")) + len(chunks.tokens(" ["))
