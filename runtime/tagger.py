"""Tag texts with a model file: text in, entities with character offsets out."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, tee
from typing import NamedTuple, TypeVar

from ner_edge.runtime.scheduler import Caller
from ner_edge.runtime.word_tagger import WordTagger
from ner_edge.segment import Word, segment
from ner_edge.spans import ScoredSpan

_T = TypeVar("_T")
MOST_TASKS = 64
"""The most asyncio tasks that wait for results of one tagger; further ones wait for their turn."""


@dataclass(frozen=True)
class Entity:
    """An entity in a text. Offsets count code points and are half-open."""

    start: int
    end: int
    text: str
    """The characters from `start` to `end`."""
    label: str
    score: float
    """Its probability under the decoder, 0 to 1."""


class Part(NamedTuple):
    """A sentence of a text; without words it ends a document."""

    text: str
    words: Sequence[Word]
    ends_text: bool


class GGUFTagger(WordTagger):
    """Finds entities in texts with one model, for any number of threads and asyncio tasks."""

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(MOST_TASKS, thread_name_prefix="ner-edge")

    def close(self) -> None:
        """Free the model, after the batch that is being evaluated."""
        self._threads.shutdown(wait=False)  # tasks that wait are told that the model is closed
        super().close()

    def __call__(self, text: str) -> list[Entity]:
        """Return the entities of one text of any length, in order."""
        _check_is_text(text)
        return next(self.pipe_parts(parts_of(text)))

    def pipe(self, texts: Iterable[str], *, document: bool = False) -> Generator[list[Entity]]:
        """Yield the entities of each text, in order.

        Many sentences are decoded at a time, in bounded memory. In texts that are parts of one
        `document`, such as its lines, the same word tends to get the same label.
        """
        if isinstance(texts, str):
            raise TypeError("`pipe` takes many texts, not one str; call the tagger itself for that")
        return self.pipe_parts(chain.from_iterable(map(parts_of, texts)), document=document)

    def pipe_parts(
        self, parts: Iterable[Part], caller: Caller | None = None, *, document: bool = False
    ) -> Generator[list[Entity]]:
        """Yield the entities of each text, as `pipe` does, in the sentences of its `parts`."""
        fed: deque[Part] = deque()

        def sentences() -> Iterator[list[str]]:
            for part in parts:
                fed.append(part)
                yield [word.text for word in part.words]

        entities: list[Entity] = []
        for spans in self._tag_words(sentences(), caller, document=document):
            part = fed.popleft()
            entities += _entities(part.text, part.words, spans)
            if part.ends_text:
                yield entities
                entities = []

    def stream(self, text: str) -> Generator[list[Entity]]:
        """Yield the entities of each sentence of a text as soon as it is tagged, in order.

        The decoders `auto` and `read` first read the text, or some 2000 words of it.
        """
        _check_is_text(text)
        return self._stream(text, Caller())

    async def atag(self, text: str) -> list[Entity]:
        """Return the entities of one text, as calling the tagger does, in an asyncio task.

        A task that is cancelled frees its sentences at once.
        """
        _check_is_text(text)
        caller = Caller()
        results = self.pipe_parts(parts_of(text), caller)
        return await self._in_thread(lambda: next(results), caller)

    async def astream(self, text: str) -> AsyncGenerator[list[Entity]]:
        """Yield the entities of each sentence of a text, as `stream` does, in an asyncio task."""
        _check_is_text(text)
        caller = Caller()
        results = self._stream(text, caller)
        try:
            while found := await self._in_thread(lambda: list(islice(results, 1)), caller):
                yield found[0]
        finally:
            self._scheduler.leave(caller)

    async def _in_thread(self, call: Callable[[], _T], caller: Caller) -> _T:
        self._model.check_usable()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except asyncio.CancelledError:
            self._scheduler.leave(caller)
            raise

    def _stream(self, text: str, caller: Caller) -> Generator[list[Entity]]:
        ahead, behind = tee(segment(text))
        sentences = ([word.text for word in words] for words in ahead)
        for words, spans in zip(behind, self._tag_words(sentences, caller), strict=False):
            yield list(_entities(text, words, spans))


def parts_of(text: str, sentences: Iterable[Sequence[Word]] | None = None) -> Iterator[Part]:
    """Yield the parts of a text that is a document: its `sentences`, by default those that
    `segment` finds, and its end."""
    if not isinstance(text, str):
        raise TypeError(f"`pipe` takes texts (str), not {type(text).__name__}")
    for words in segment(text) if sentences is None else sentences:
        yield Part(text, words, ends_text=False)
    yield Part(text, [], ends_text=True)


def _check_is_text(text: object) -> None:
    if not isinstance(text, str):
        kind = type(text).__name__
        raise TypeError(f"a tagger takes one text (str), not {kind}; `pipe` takes many texts")


def _entities(text: str, words: Sequence[Word], spans: Iterable[ScoredSpan]) -> Iterator[Entity]:
    for first, end, label, score in spans:
        begin, stop = words[first].start, words[end - 1].end
        yield Entity(begin, stop, text[begin:stop], label, score)
