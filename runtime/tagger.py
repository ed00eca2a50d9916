"""The tagger: text in, entities with character offsets out."""

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Self

from ner_edge.errors import DataError, ModelError, NerEdgeWarning, UsageError
from ner_edge.files.cache import cache_dir
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe
from ner_edge.runtime.engine import DECODER_VERSION, CopyEngine
from ner_edge.runtime.grammar import completion_request
from ner_edge.runtime.grammar_decoder import GrammarDecoder
from ner_edge.runtime.head import OutputHead
from ner_edge.runtime.llama import LIBRARY, LlamaModel
from ner_edge.runtime.parts import parts
from ner_edge.runtime.prefix import read_prefix
from ner_edge.runtime.trie import chunks_tokenize_alone
from ner_edge.segment import Word, segment
from ner_edge.spans import ScoredSpan
from ner_edge.task import Task
from ner_edge.temperature import scaled

Decoder = Literal["copy", "grammar"]

IN_FLIGHT = 8
_CONTEXT = 4096  # tokens of all sentences in flight; one sentence's worst case must fit


@dataclass(frozen=True)
class Entity:
    """Characters `start` to `end` (code points, half-open) of the text; `text` is what stands
    there, `score` the probability of the entity under the decoder, 0 to 1."""

    start: int
    end: int
    text: str
    label: str
    score: float


class GGUFTagger:
    """Finds entities with one model, for one caller at a time: a second one, from another thread or
    between two results of a `pipe`, is refused with a `UsageError`. So is a process that was forked
    since it was loaded, as by `multiprocessing.Pool` or `gunicorn --preload`: load it there.
    """

    output: str | None = None
    """The text behind the entities yielded last, where it may differ from their sentence with them
    in brackets; the decoders here see to it that it does not."""

    version = f"{DECODER_VERSION}, {LIBRARY}"
    """Two taggers of one version with the same file, task and decoder say the same."""

    def __init__(
        self,
        model: LlamaModel,
        path: Path,
        task: Task,
        decoder: Decoder,
        temperature: float = 1.0,
    ) -> None:
        self.task = task
        self._temperature = temperature
        self.min_score = 0.0
        """Leave out entities with a lower score."""
        self._model = model
        self._in_use = Lock()
        self._prefix = prefix = model.tokenize(task.prefix, special=True, start=True)
        self._suffix = suffix = model.tokenize(task.suffix, special=True)
        labels = list(task.labels)
        context = min(model.context_size, model.trained_context)
        if len(prefix) + len(suffix) >= context:
            raise ModelError(
                f"{path}: its task's prompt takes {len(prefix) + len(suffix)} tokens, but its "
                f"context holds {context}"
            )
        read_prefix(model, prefix, cache_dir() / "instructions", [path])
        self._engine = CopyEngine(model, labels, len(prefix), suffix, in_flight=IN_FLIGHT)
        self._grammar = None
        if decoder == "copy" and not chunks_tokenize_alone(model.tokenize):
            warnings.warn(
                "this model's vocabulary joins words across spaces: using the grammar decoder",
                NerEdgeWarning,
                stacklevel=3,
            )
            decoder = "grammar"
        self.decoder = decoder
        if decoder == "grammar":
            self._grammar = GrammarDecoder(model, labels, len(prefix), suffix)

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        decoder: Decoder = "copy",
        threads: int | None = None,
        gpu_layers: int | None = None,
    ) -> Self:
        """Load a GGUF made by `ner-edge export`.

        `threads` None means the physical cores, `gpu_layers` None all layers where llama.cpp was
        built for a GPU. Raises `ModelError` if the file is damaged or holds no task.
        """
        facts = describe(path)
        task = facts.task
        if task is None:
            raise ModelError(
                f"{path}: holds no ner-edge task; make the file with `ner-edge export`, "
                "which embeds one"
            )
        llama = LlamaModel(
            path,
            context=_CONTEXT,
            sequences=IN_FLIGHT + 1,
            threads=threads,
            gpu_layers=gpu_layers,
            head=OutputHead(GGUFFile(path)),
        )
        try:
            return cls(llama, path, task, decoder, facts.temperature)
        except BaseException:
            llama.close()
            raise

    @property
    def hardware(self) -> str:
        """What its speed is that of, like `2 threads`."""
        return self._model.hardware

    def __call__(self, text: str) -> list[Entity]:
        """The entities of one text of any length, in order."""
        if not isinstance(text, str):
            kind = type(text).__name__
            raise TypeError(f"a tagger takes one text (str), not {kind}; `pipe` takes many texts")
        return next(self.pipe([text]))

    def pipe(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        """The entities of each text, in order, many sentences at a time; memory stays bounded."""
        if isinstance(texts, str):
            raise TypeError("`pipe` takes many texts, not one str; call the tagger itself for that")
        return self._pipe(texts)

    def _pipe(self, texts: Iterable[str]) -> Iterator[list[Entity]]:
        fed: deque[tuple[str, list[Word]] | None] = deque()  # None ends a text

        def sentences() -> Iterator[list[str]]:
            for text in texts:
                if not isinstance(text, str):
                    raise TypeError(f"`pipe` takes texts (str), not {type(text).__name__}")
                for words in segment(text):
                    fed.append((text, words))
                    yield [word.text for word in words]
                fed.append(None)

        entities: list[Entity] = []
        for spans in self.tag_words(sentences()):
            while (sentence := fed.popleft()) is None:
                yield entities
                entities = []
            entities += _entities(*sentence, spans)
        for _ in fed:
            yield entities
            entities = []

    def tag_words(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[ScoredSpan]]:
        """The entities, as spans of words, of sentences that are already split into words.

        Raises `DataError` on a word that is empty or holds white space.
        """
        if not self._in_use.acquire(blocking=False):
            raise UsageError(
                "this tagger is busy: exhaust or close its current iterator, or load another tagger"
            )
        try:
            for spans in self._tag_words(sentences):
                scored = [
                    span._replace(score=scaled(span.score, self._temperature)) for span in spans
                ]
                yield [span for span in scored if span.score >= self.min_score]
        finally:
            self._in_use.release()

    def _tag_words(self, sentences: Iterable[Sequence[str]]) -> Iterator[list[ScoredSpan]]:
        parts_of: deque[list[tuple[int, int]]] = deque()  # of sentences under way

        def all_parts() -> Iterator[Sequence[str]]:
            for words in sentences:
                _check(words)
                parts_of.append(list(self._parts(words)))
                for start, end in parts_of[-1]:
                    yield words[start:end]

        results = (self._grammar or self._engine).decode(all_parts())
        for spans in results:
            while not parts_of[0]:
                parts_of.popleft()
                yield []
            (first, _), *others = parts_of.popleft()
            found = _moved(spans, first)
            for start, _ in others:
                found += _moved(next(results), start)
            yield found
        for _ in parts_of:
            yield []

    def completion_request(self, words: Sequence[str]) -> dict[str, Any]:
        """The same question for a stock `llama-server` with this model: the body of a request to
        its `/completion`."""
        _check(words)
        prompt = self._prefix + self._model.tokenize(" ".join(words)) + self._suffix
        longest = self._engine.tokens_needed(words)
        return completion_request(prompt, words, list(self.task.labels), longest)

    def fits(self, words: Sequence[str]) -> bool:
        """Does the context hold this sentence? Longer ones are split before they are tagged."""
        return self._engine.tokens_needed(words) <= self._engine.longest

    def round_trip(self, text: str) -> str:
        """What the model's vocabulary makes of `text` and back; the same, if it is whole."""
        pieces = (self._model.piece(token) for token in self._model.tokenize(text))
        return b"".join(pieces).decode("utf-8", "replace")

    def _parts(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Spans of what the model reads of a sentence, in parts that fit the context."""
        for start, end in parts(words, lambda word: len(self._engine.chunks.tokens(word))):
            yield from self._fitting(words, start, end)

    def _fitting(self, words: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
        """`words[start:end]` in as few halves, quarters, ... as fit the context."""
        if self.fits(words[start:end]):
            yield start, end
            return
        if end - start == 1:
            raise DataError(f"the word '{words[start][:20]}…' is too long for the model's context")
        warnings.warn(
            "a sentence is too long for the model's context: it is split",
            NerEdgeWarning,
            stacklevel=1,  # so that it is said once, from wherever
        )
        middle = (start + end) // 2
        yield from self._fitting(words, start, middle)
        yield from self._fitting(words, middle, end)

    def close(self) -> None:
        """Free the model."""
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _check(words: Sequence[str]) -> None:
    if isinstance(words, str):
        raise TypeError("a sentence is a list of words, not a str")
    for word in words:
        if word.split() != [word] or "\0" in word:
            raise DataError(f"{word!r} is not a word: it is empty or holds white space or a NUL")


def _moved(spans: Iterable[ScoredSpan], by: int) -> list[ScoredSpan]:
    return [span._replace(start=span.start + by, end=span.end + by) for span in spans]


def _entities(text: str, words: Sequence[Word], spans: Iterable[ScoredSpan]) -> Iterator[Entity]:
    for first, end, label, score in spans:
        begin, stop = words[first].start, words[end - 1].end
        yield Entity(begin, stop, text[begin:stop], label, score)
