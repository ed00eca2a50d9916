"""Tag sentences with a model file: words in, entities as spans of words out."""

import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

from ner_edge.calibration import Calibration
from ner_edge.errors import DataError, ModelError, NerEdgeWarning, UsageError
from ner_edge.files.cache import cache_dir
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.metadata import describe
from ner_edge.passages import passages
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.decoded import Decoded, Document, Passage
from ner_edge.runtime.engine import DECODER_VERSION, READ_TOGETHER, CopyEngine
from ner_edge.runtime.grammar import completion_request
from ner_edge.runtime.grammar_decoder import GrammarDecoder
from ner_edge.runtime.head import OutputHead
from ner_edge.runtime.llama import LIBRARY, LlamaModel
from ner_edge.runtime.nodes import nodes_can_be_read
from ner_edge.runtime.prefix import read_prefix
from ner_edge.runtime.readable import readable_spans
from ner_edge.runtime.reader import SentenceReader
from ner_edge.runtime.scheduler import Caller, Scheduler
from ner_edge.runtime.trie import chunks_tokenize_alone
from ner_edge.spans import ScoredSpan
from ner_edge.task import Task
from ner_edge.word_head import WordHead

Decoder = Literal["auto", "read", "copy", "grammar"]

IN_FLIGHT = 8  # sentences written together
DOCUMENT = 2000  # the most words of several sentences in which labels are made consistent
_UNCALIBRATED = Calibration()
_CONTEXT = 4096  # tokens of all sentences in flight, which must hold the worst case of one


class Statistics(NamedTuple):
    """What a tagger has to do, and what it has done since it was loaded."""

    callers: int
    """Threads and tasks that have asked for results which they have not all taken."""
    waiting: int
    """Sentences that were asked for and not yet begun."""
    batches: int
    """Batches that were evaluated."""
    tokens: int
    """Tokens of these batches."""


class WordTagger:
    """Finds entities in sentences with one model, for any number of callers at a time.

    Threads may share a tagger; their sentences are decoded in common batches. Raises `UsageError`
    in a process that was forked after the tagger was loaded, as `multiprocessing.Pool` and
    `gunicorn --preload` do: load a tagger in each such process.
    """

    output: str | None = None
    """The raw output for the last sentence. None, because these decoders can only copy the sentence
    and place brackets."""

    version = f"{DECODER_VERSION}, {LIBRARY}"
    """Taggers of the same version, file, task and decoder give the same results."""

    def __init__(
        self,
        model: LlamaModel,
        path: Path,
        task: Task,
        decoder: Decoder,
        *,
        calibration: Calibration = _UNCALIBRATED,
        word_head: WordHead | None = None,
        depth: int | None = None,
    ) -> None:
        self.task = task
        self.min_score = 0.0
        """Leave out entities with a lower score."""
        self._model = model
        self._prompts = PromptTokenizer(task.prefix, task.suffix, model.tokenize)
        self._check_prompt(path)
        read_prefix(model, self._prompts.prefix, cache_dir() / "instructions", [path])
        if decoder != "grammar" and not chunks_tokenize_alone(model.tokenize):
            warnings.warn(
                "this model's vocabulary joins words across spaces: using the grammar decoder",
                NerEdgeWarning,
                stacklevel=3,
            )
            decoder = "grammar"
        self.decoder = f"read, {depth} layers" if depth else str(decoder)
        """The decoder in use."""
        labels = list(task.labels)
        grammar = None
        if decoder == "grammar":
            grammar = GrammarDecoder(
                model,
                labels,
                self._prompts,
                temperature=calibration.temperature,
                both_ways=word_head is not None,
            )
        reader = None
        if word_head:
            temperature = calibration.read_temperature
            reader = SentenceReader(
                model, word_head, self._prompts, temperature=temperature, depth=depth
            )
        self._reads = word_head is not None and decoder in ("auto", "read")
        self._passage = word_head.passage if word_head else 0
        thresholds = {"read": -1.0, "auto": calibration.threshold}
        self._engine = CopyEngine(
            model,
            labels,
            self._prompts,
            in_flight=IN_FLIGHT,
            temperature=calibration.temperature,
            reader=reader,
            threshold=thresholds.get(decoder, 1.0),
            prior=decoder == "auto",
        )
        self._scheduler = Scheduler(grammar or self._engine)

    def _check_prompt(self, path: Path) -> None:
        tokens = len(self._prompts.prefix) + len(self._prompts.suffix)
        context = min(self._model.context_size, self._model.trained_context)
        if tokens >= context:
            raise ModelError(
                f"{path}: its task's prompt takes {tokens} tokens, but its context holds {context}"
            )

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        decoder: Decoder | None = None,
        depth: int | None = None,
        threads: int | None = None,
        gpu_layers: int | None = None,
    ) -> Self:
        """Load a GGUF made by `ner-edge export`.

        `decoder` defaults to `auto` if the file has a word head, else to `copy`. `depth` is the
        number of layers that the decoder `read` evaluates, by default all. `threads` defaults to
        the physical cores, and `gpu_layers` to all layers if llama.cpp was built for a GPU. Raises
        `ModelError` if the file is damaged or has no task, `UsageError` if it does not support the
        decoder or the depth.
        """
        metadata = describe(path)
        if metadata.task is None:
            raise ModelError(
                f"{path}: contains no ner-edge task; make the file with `ner-edge export`, "
                "which embeds one"
            )
        head = metadata.word_head
        decoder = decoder or ("auto" if head else "copy")
        _check_decoder(path, decoder, depth, head)
        llama = LlamaModel(
            path,
            context=_CONTEXT,
            sequences=IN_FLIGHT + (READ_TOGETHER if head else 0) + 1,
            threads=threads,
            gpu_layers=gpu_layers,
            head=OutputHead(GGUFFile(path)),
            states=head is not None,
        )
        try:
            return cls(
                llama,
                path,
                metadata.task,
                decoder,
                calibration=metadata.calibration,
                word_head=head,
                depth=depth,
            )
        except BaseException:
            llama.close()
            raise

    @property
    def hardware(self) -> str:
        """What the model runs on, such as `2 threads`."""
        return self._model.hardware

    @property
    def statistics(self) -> Statistics:
        """What this tagger has to do, and what it has done."""
        scheduler, model = self._scheduler, self._model
        return Statistics(scheduler.callers, scheduler.waiting, model.batches, model.tokens)

    def tag_words(self, sentences: Iterable[Sequence[str]]) -> Generator[list[ScoredSpan]]:
        """Yield the entities, as spans of words, of sentences already split into words.

        An empty sentence, which has no entities, ends a document: put one between unrelated
        sentences. The decoders `auto` and `read` read a document, or some 2000 words of it, before
        they tag its first sentence, since the same word tends to have the same label in all of it.
        They read several sentences together if the model was trained to. Raises `DataError` for a
        word that is empty or contains white space.
        """
        return self._tag_words(sentences)

    def _tag_words(
        self,
        sentences: Iterable[Sequence[str]],
        caller: Caller | None = None,
        *,
        document: bool = False,
    ) -> Generator[list[ScoredSpan]]:
        with closing(self.tag_and_read(sentences, caller, document=document)) as results:
            for decoded in results:
                yield [span for span in decoded.spans if span.score >= self.min_score]

    def tag_and_read(
        self,
        sentences: Iterable[Sequence[str]],
        caller: Caller | None = None,
        *,
        document: bool = False,
    ) -> Generator[Decoded]:
        """Yield all entities of each sentence, with those found while reading it.

        The sentences are as for `tag_words`, or all of one `document`, in which an empty one only
        ends a part whose sentences may be read together. One that is not read both ways, or only in
        parts, has no reading. Raises `CancelledError` once the `caller` has left.
        """
        self._model.check_usable()
        parts_of: deque[tuple[int, list[tuple[int, int]]]] = deque()  # of those being decoded

        def all_parts() -> Iterator[Sequence[str]]:
            for words in sentences:
                _check(words)
                parts = list(self._parts(words)) or [(0, 0)]
                parts_of.append((len(words), parts))
                for start, end in parts:
                    yield words[start:end]

        documents = self._documents(all_parts(), one=document)
        with closing(self._scheduler.decode(documents, caller)) as results:
            for decoded in results:
                length, ((first, end), *others) = parts_of.popleft()
                found = _moved(decoded.spans, first)
                for start, _ in others:
                    found += _moved(next(results).spans, start)
                yield Decoded(found, decoded.reading if end - first == length else None)

    def write_all(self) -> None:
        """Write every sentence whole from now on; the tags of its words still count."""
        self._engine.threshold = 1.0

    def completion_request(self, words: Sequence[str]) -> dict[str, Any]:
        """Return the body of a request with which a stock `llama-server` tags the same sentence.

        It is a POST request to `/completion`. Raises `DataError` as `tag_words` does.
        """
        _check(words)
        prompt = self._prompts.prefix + self._prompts.prompt(words)
        longest = self._engine.tokens_needed(words)
        return completion_request(prompt, words, list(self.task.labels), longest)

    def fits(self, words: Sequence[str]) -> bool:
        """Whether this sentence fits the context; longer ones are split."""
        return self._engine.fits(words)

    def round_trip(self, text: str) -> str:
        """Return `text` encoded and decoded; it is unchanged if the vocabulary covers it."""
        pieces = (self._model.piece(token) for token in self._model.tokenize(text))
        return b"".join(pieces).decode("utf-8", "replace")

    def _documents(self, sentences: Iterable[Sequence[str]], *, one: bool) -> Iterator[Document]:
        if not self._reads:
            yield from ([[words]] for words in sentences)
            return
        for document in [sentences] if one else _texts(sentences):
            for window in _windows(document):
                yield [
                    passage for text in _texts(window) for passage in passages(text, self._together)
                ]

    def _together(self, passage: Passage) -> bool:
        words = sum(map(len, passage))
        return words <= self._passage and self._engine.fit_together(passage)

    def _parts(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield the parts of a sentence to tag, each short enough for the context."""
        for start, end in readable_spans(words, lambda word: len(self._engine.chunks.tokens(word))):
            yield from self._fitting(words, start, end)

    def _fitting(self, words: Sequence[str], start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield `words[start:end]`, halved until each part fits the context."""
        if self.fits(words[start:end]):
            yield start, end
            return
        if end - start == 1:
            raise DataError(f"the word '{words[start][:20]}…' is too long for the model's context")
        warnings.warn(
            "a sentence is too long for the model's context: it is split",
            NerEdgeWarning,
            stacklevel=1,  # one place for all callers, so that Python shows it once
        )
        middle = (start + end) // 2
        yield from self._fitting(words, start, middle)
        yield from self._fitting(words, middle, end)

    def close(self) -> None:
        """Free the model, after the batch that is being evaluated."""
        if self._model.is_ours:
            self._scheduler.when_idle(self._model.close)
        else:  # the thread that evaluated a batch when this process was forked does not run here
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


def _check_decoder(path: Path, decoder: Decoder, depth: int | None, head: WordHead | None) -> None:
    if head is None and (decoder in ("auto", "read") or depth):
        what = f"--decoder {decoder}" if depth is None else "--depth"
        raise UsageError(
            f"{path}: {what} needs a model with a word head, trained with --reading both; this one "
            "has the decoders copy and grammar"
        )
    if head is None or depth is None:
        return
    if decoder != "read":
        raise UsageError("--depth needs --decoder read: nothing can be written after it")
    if depth not in head.layers:
        depths = ", ".join(map(str, sorted(head.layers)))
        raise UsageError(f"{path}: no word head after {depth} layers, only after {depths}")
    if depth != head.last and not nodes_can_be_read():
        raise UsageError("--depth: llama.cpp does not expose its layers on this system")


def _texts(sentences: Iterable[Sequence[str]]) -> Iterator[Iterable[Sequence[str]]]:
    """Yield each run of sentences, and each of the empty ones that stand between."""
    for is_empty, run in groupby(sentences, key=lambda words: not words):
        if is_empty:
            yield from ([words] for words in run)
        else:
            yield run


def _windows(sentences: Iterable[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Yield the sentences in runs of at most `DOCUMENT` words, or of one sentence; an empty one
    counts as a word, so that memory stays bounded."""
    window: list[Sequence[str]] = []
    size = 0
    for words in sentences:
        size += max(1, len(words))
        if window and size > DOCUMENT:
            yield window
            window, size = [], max(1, len(words))
        window.append(words)
    if window:
        yield window


def _check(words: Sequence[str]) -> None:
    if isinstance(words, str):
        raise TypeError("a sentence is a list of words, not a str")
    for word in words:
        if word.split() != [word] or "\0" in word:
            raise DataError(f"{word!r} is not a word: it is empty or contains white space or a NUL")


def _moved(spans: Iterable[ScoredSpan], by: int) -> list[ScoredSpan]:
    return [span._replace(start=span.start + by, end=span.end + by) for span in spans]
