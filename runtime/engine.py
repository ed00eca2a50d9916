"""The copy decoder: continuous batching of many sentences in one context."""

from collections import deque
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.batch import Run
from ner_edge.runtime.decoded import Decoded, Passage, Request, Take
from ner_edge.runtime.llama import PREFIX, LlamaModel
from ner_edge.runtime.policy import BoldPolicy, DraftPolicy, ReadPolicy
from ner_edge.runtime.prior import ReadingPrior
from ner_edge.runtime.reader import SentenceReader, Tokenized, tokenize_words
from ner_edge.runtime.score import calibrated
from ner_edge.runtime.sentence import SentenceDecoder
from ner_edge.runtime.trie import ChunkTokenizer
from ner_edge.word_head import Reading

DECODER_VERSION = 8
"""Increment this with every change to either decoder that may alter entities or scores, even if
only by rounding, as another shape of batches does. Evaluation reuses cached predictions of the same
version only."""

SHARED_BATCH = 63
"""The most tokens of a batch of several sentences. From 64 on, llama.cpp's attention on CPUs works
in tiles of 64 tokens by 64 cells, and skips only tiles that are masked for every token."""

READ_TOGETHER = 16
READ_TOKENS = 256
"""The most passages, and tokens of several sentences, that are read in one batch."""

MOST_STARTS = 8
"""The most batches that are read in a row while sentences wait to be written."""


@dataclass
class _Slot:
    """A request in flight, or one of its sentences. Several sentences are only read together."""

    request: Request
    place: int
    """The index of the first sentence."""
    sentences: Passage
    tokenized: Tokenized
    reserved: int
    """The most tokens that it may need."""
    length: int
    """Tokens that its sequence has in the model's memory."""
    reading: Reading | None = None
    """Of a single sentence, in its document."""
    sequence: int = 0
    decoder: SentenceDecoder | None = None
    finished: bool = False

    @property
    def words(self) -> Sequence[str]:
        """Those of a single sentence."""
        (words,) = self.sentences
        return words

    def finish(self, decoded: Decoded) -> None:
        """Set the result of a single sentence."""
        self.request.found[self.place] = decoded
        self.finished = True


class CopyEngine:
    """Decodes several sentences at a time; each contributes the tokens up to its next decision.

    The sequence `PREFIX` of `model` must hold the prefix of `prompts`, with which all sequences
    begin. `in_flight` sentences share batches of at most `share` tokens and draft by `policy`; a
    sentence alone in its batch drafts by `policy_alone`. Scores of written entities are calibrated
    by `temperature`.

    With a `reader`, passages are first read, many in a batch, and tagged once their whole document
    is read. A word is in doubt if its tag is at most as probable as `threshold`. A sentence without
    one is done. The others, read once more if they are part of a document, are written up to their
    last one, with the tags as the draft, and the tags after it stand. With `prior`, the tags also
    count in what is written.
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
        temperature: float = 1.0,
        reader: SentenceReader | None = None,
        threshold: float = 1.0,
        prior: bool = False,
    ) -> None:
        self._model = model
        self._labels = labels
        self._prompts = prompts
        self._prefix = len(prompts.prefix)
        self._in_flight = in_flight
        self._share = share
        self._policy = policy or DraftPolicy()
        self._policy_alone = policy_alone or policy or BoldPolicy()
        self._temperature = temperature
        self._reader = reader
        self.threshold = threshold
        self._prior = prior
        self.chunks = ChunkTokenizer(model.tokenize)
        self._bracket_tokens = _most_bracket_tokens(self.chunks, labels)
        self._free = self._all_sequences()
        self._slots: list[_Slot] = []
        self._starts = 0
        """How often in a row sentences started while others waited to be written."""
        self._waiting: deque[_Slot] = deque()
        """Taken, but they may not start yet."""

    def tokens_needed(self, words: Sequence[str]) -> int:
        """Return an upper bound on the tokens of a sentence in the context, without the prefix."""
        copied = 2 * len(self.chunks.of_words(words))
        return copied + len(self._prompts.suffix) + len(words) * self._bracket_tokens

    def fits(self, words: Sequence[str]) -> bool:
        """Whether the sentence fits the context, and the batch in which it is read."""
        if self._reader and len(self.chunks.of_words(words)) > self._model.batch_size:
            return False
        longest = min(self._model.context_size, self._model.trained_context) - self._prefix
        return self.tokens_needed(words) <= longest

    def fit_together(self, sentences: Passage) -> bool:
        """Whether sentences that fit can be read as one passage."""
        # Each with the break after it.
        tokens = sum(len(self.chunks.of_words(words)) + 1 for words in sentences)
        room = min(self._model.context_size, self._model.trained_context) - self._prefix
        return tokens <= min(READ_TOKENS, self._model.batch_size, room)

    def step(self, take: Take) -> None:
        """Start what fits beside the sentences in flight, or else evaluate one batch.

        Sets the result of each sentence that is finished. All requests must fit.
        """
        self.drop_cancelled()
        # Else a sentence in doubt would wait as long as others come that are not.
        may_start = not self._slots or self._starts < MOST_STARTS
        if may_start and (group := self._admit(take)):
            self._starts = self._starts + 1 if self._slots else 0
            alone = not self._slots and len(group) == 1
            self._slots += group
            self._start(group, alone=alone)
        elif self._slots:
            self._starts = 0
            self._advance()
        for slot in [slot for slot in self._slots if slot.finished]:
            self._drop(slot)

    def drop_cancelled(self) -> None:
        """Forget the requests that were cancelled, and free their places."""
        self._waiting = deque(slot for slot in self._waiting if not slot.request.cancelled)
        for slot in [slot for slot in self._slots if slot.request.cancelled]:
            self._drop(slot)

    def reset(self) -> None:
        """Forget all requests that were taken, in whatever state an error left them."""
        for slot in self._slots:
            self._model.forget(slot.sequence, 0)
        self._waiting.clear()
        self._slots, self._free = [], self._all_sequences()

    def _drop(self, slot: _Slot) -> None:
        self._slots.remove(slot)
        self._model.forget(slot.sequence, 0)
        self._free.append(slot.sequence)

    def _all_sequences(self) -> list[int]:
        return list(range(self._model.sequences - 1, PREFIX, -1))

    def _admit(self, take: Take) -> list[_Slot]:
        """Take what may start together."""
        group: list[_Slot] = []
        while self._free:
            if not self._waiting and (request := take()):
                self._waiting.append(self._slot(request, 0, request.sentences))
            if not self._waiting or not self._may_start(self._waiting[0], group):
                break
            slot = self._waiting.popleft()
            slot.sequence = self._free.pop()
            group.append(slot)
        return group

    def _slot(
        self, request: Request, place: int, sentences: Passage, reading: Reading | None = None
    ) -> _Slot:
        tokenized = tokenize_words(sentences, self.chunks)
        needed = len(tokenized.tokens)
        if len(sentences) == 1:
            needed = self.tokens_needed(sentences[0])
        return _Slot(request, place, sentences, tokenized, needed, self._prefix, reading)

    def _may_start(self, slot: _Slot, group: Sequence[_Slot]) -> bool:
        """Whether a sentence may join a `group` that starts beside those in flight."""
        slots = self._slots
        if not slots and not group:
            return True
        if self._reader:
            tokens = sum(len(other.tokenized.tokens) for other in (slot, *group))
            if len(group) == READ_TOGETHER or tokens > min(READ_TOKENS, self._model.batch_size):
                return False
        elif len(slots) + len(group) >= self._in_flight:
            return False
        reserved = sum(other.reserved for other in (slot, *slots, *group))
        return len(slots) < self._in_flight and self._prefix + reserved <= self._model.context_size

    def _start(self, group: Sequence[_Slot], *, alone: bool) -> None:
        for slot in group:
            self._model.share(PREFIX, slot.sequence)
        if self._reader:
            self._read(self._reader, group)
            return
        policy = self._policy_alone if alone else self._policy
        for slot in group:
            self._write(slot, self._prompts.with_suffix(slot.tokenized.tokens), policy)

    def _read(self, reader: SentenceReader, group: Sequence[_Slot]) -> None:
        """Read a batch of passages, tag the documents that are now read, and prepare to write the
        sentences that are in doubt."""
        tags = reader.read([(slot.sequence, slot.sentences, slot.tokenized) for slot in group])
        for slot, of_slot in zip(group, tags, strict=True):
            if slot.reading:  # in its document, before
                self._write_read(slot, slot.reading)
                continue
            slot.request.tags = of_slot
            document = slot.request.document or [slot.request]
            if any(request.tags is None for request in document):
                slot.finished = True
            elif len(document) == len(slot.sentences) == 1:
                (slot.reading,) = reader.tag(slot.sentences, of_slot)
                self._write_read(slot, slot.reading)
            else:
                self._tag(reader, document)
                slot.finished = True

    def _tag(self, reader: SentenceReader, document: Sequence[Request]) -> None:
        """Finish the sentences of a document that are not in doubt; the others are read again."""
        places = [
            (request, place) for request in document for place in range(len(request.sentences))
        ]
        sentences = [request.sentences[place] for request, place in places]
        tags = [of_one for request in document for of_one in request.tags or ()]
        readings = reader.tag(sentences, tags)
        for (request, place), words, reading in zip(places, sentences, readings, strict=True):
            if place in request.found:  # before an error
                continue
            if reading.ends(self.threshold) is None:
                request.found[place] = Decoded(reading.spans, reading)
            else:
                self._waiting.append(self._slot(request, place, [words], reading))

    def _write_read(self, slot: _Slot, reading: Reading) -> None:
        """Prepare to write a sentence that was just read, if it is in doubt."""
        ends = reading.ends(self.threshold)
        if ends is None:
            slot.finish(Decoded(reading.spans, reading))
            return
        slot.length += len(slot.tokenized.tokens)
        of_tags = reading.log_probabilities
        prior = ReadingPrior(of_tags, self._labels) if self._prior else None
        self._write(slot, self._prompts.suffix, ReadPolicy(reading.spans), ends, prior)

    def _write(
        self,
        slot: _Slot,
        tokens: Sequence[int],
        policy: DraftPolicy,
        ends: Container[int] = (),
        prior: ReadingPrior | None = None,
    ) -> None:
        """Prepare to write the answer after `tokens`, the rest of the prompt."""
        slot.decoder = SentenceDecoder(
            slot.words, self._labels, tokens, self.chunks, policy, ends, prior
        )
        if slot.decoder.finished:  # only one answer is legal
            self._finish(slot, slot.decoder)

    def _finish(self, slot: _Slot, decoder: SentenceDecoder) -> None:
        spans = calibrated(decoder.spans, self._temperature)
        if slot.reading:  # the rest of the sentence
            spans += [span for span in slot.reading.spans if span.start >= decoder.position]
        slot.finish(Decoded(spans, slot.reading))

    def _advance(self) -> None:
        """Evaluate one batch of as many pending tokens as fit."""
        slots = self._slots
        alone = len(slots) == 1
        room = self._model.batch_size if alone else min(self._share, self._model.batch_size)
        runs: list[Run] = []
        fed: list[tuple[_Slot, SentenceDecoder]] = []
        pieces: list[Run] = []
        for slot in slots:
            decoder = slot.decoder
            assert decoder is not None, "it has started"
            if decoder.certain <= room:
                decoder.shorten(room)
                runs.append(Run(slot.sequence, slot.length, decoder.pending, decoder.wanted))
                fed.append((slot, decoder))
                room -= len(decoder.pending)
            elif piece := decoder.feed_ahead(room):
                pieces.append(Run(slot.sequence, slot.length, piece, []))
                slot.length += len(piece)
                room -= len(piece)
        rows = self._model.decode(runs + pieces)
        for (slot, decoder), run, row_of in zip(fed, runs, rows, strict=False):
            if not self._reader:
                decoder.policy = self._policy_alone if alone else self._policy
            accepted = decoder.settle(partial(self._logits, row_of))
            slot.length += accepted
            if decoder.finished:
                self._finish(slot, decoder)
            elif accepted < len(run.tokens):
                self._model.forget(slot.sequence, slot.length)

    def _logits(self, row_of: Mapping[int, int], index: int, tokens: Sequence[int]) -> list[float]:
        return self._model.logits(row_of[index], tokens)


def _most_bracket_tokens(chunks: ChunkTokenizer, labels: Sequence[str]) -> int:
    closing = max(len(chunks.tokens(f" {label}]\n")) for label in labels)
    return closing + len(chunks.tokens(" |")) + len(chunks.tokens(" ["))
