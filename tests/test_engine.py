"""The copy engine is exact: its result depends only on the model and the sentence."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import WIDTH, StubModel, logits_after, states_of, tokenize

from ner_edge.consistency import consistent
from ner_edge.errors import ModelError
from ner_edge.passages import passages
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.automaton import START, CopyAutomaton, State
from ner_edge.runtime.decoded import Decoded, Document, Passage
from ner_edge.runtime.engine import CopyEngine
from ner_edge.runtime.policy import BoldPolicy, DraftPolicy, Guess
from ner_edge.runtime.prior import ReadingPrior
from ner_edge.runtime.reader import SentenceReader, tokenize_words
from ner_edge.runtime.scheduler import Scheduler
from ner_edge.runtime.trie import (
    ChunkTokenizer,
    Moves,
    Node,
    build_trie,
    chunks_tokenize_alone,
)
from ner_edge.spans import ScoredSpan
from ner_edge.word_head import Linear, Reading, WordHead

LABELS = ["ORG", "LOC", "ORL"]
PROMPTS = PromptTokenizer("Mark ", "\n>", tokenize)
PREFIX, SUFFIX = PROMPTS.prefix, PROMPTS.suffix
RANDOM = np.random.default_rng(7)
LAYER = Linear(
    RANDOM.normal(0, 1, (7, WIDTH)).astype(np.float32), RANDOM.normal(0, 1, 7).astype(np.float32)
)
HEAD = WordHead(tuple(LABELS), {4: LAYER})
NO_TAGS = np.zeros((0, 7), np.float32)
WORDS = ["Ada", "of", "the", "[", "[[", "]", "|", "London", "7", ".", "[a", "שלום", "😀"]


def expected_by(prior: ReadingPrior, state: State, below: Node | Moves) -> float:
    """The probability of all that a branch of the trie may spell."""
    if isinstance(below, dict):
        return sum(expected_by(prior, state, node) for node in below.values())
    p = 1.0
    for move in below:
        p *= prior.probability(state, move)
        state = move.target
    return p


def naive(words: list[str], prior: ReadingPrior | None = None) -> list[ScoredSpan]:
    """One decision at a time, no drafts, no memory; scores straight from their definition."""
    chunks, automaton = ChunkTokenizer(tokenize), CopyAutomaton(words, LABELS)
    held = (*PREFIX, *chunks.of_words(words), *SUFFIX)
    state, spans, score = START, [], 1.0
    while state != automaton.end:
        node: Node | Moves = build_trie(automaton, state, chunks)
        p_move = 1.0
        while isinstance(node, dict):
            values = logits_after(held, list(node))
            if prior:
                expected = [max(expected_by(prior, state, below), 1e-9) for below in node.values()]
                values = [
                    0.2 * v + 0.8 * math.log(p) for v, p in zip(values, expected, strict=True)
                ]
            token = list(node)[values.index(max(values))]
            p_move *= math.exp(max(values)) / sum(math.exp(value) for value in values)
            held += (token,)
            node = node[token]
        for move in node:
            if state.begin is None:
                score = p_move
            else:
                score *= p_move
            if move.label is not None:
                spans.append(ScoredSpan(state.begin, state.position, move.label, score))
            state = move.target
    return spans


class Reckless(DraftPolicy):
    def guess(self, words: Sequence[str], state: State) -> Guess:
        return "copy" if state.begin is None or state.position % 2 else "close"


class Timid(DraftPolicy):
    def guess(self, words: Sequence[str], state: State) -> Guess:
        return None


def alone(sentences: Iterable[Sequence[str]]) -> Iterator[Document]:
    """Each sentence as a document of its own."""
    return ([[words]] for words in sentences)


def assert_same(found: list[Decoded], expected: list[list[ScoredSpan]]) -> None:
    for (ours, _), theirs in zip(found, expected, strict=True):
        assert [span[:3] for span in ours] == [span[:3] for span in theirs]
        assert [s.score for s in ours] == pytest.approx([s.score for s in theirs], rel=1e-4)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), max_size=6),
    st.sampled_from([DraftPolicy, BoldPolicy, Reckless, Timid, None]),
    st.integers(1, 5),
    st.sampled_from([49, 120, 512]),
)
def test_result_is_that_of_naive_decoding(
    sentences: list[list[str]], policy: type[DraftPolicy] | None, in_flight: int, batch: int
) -> None:
    model = StubModel(batch, PREFIX)
    engine = CopyEngine(
        model, LABELS, PROMPTS, in_flight=in_flight, policy=policy() if policy else None
    )
    found = list(Scheduler(engine).decode(alone(sentences)))
    assert_same(found, [naive(words) for words in sentences])
    assert all(not held for sequence, held in model.memory.items() if sequence)


def read_naively(document: Document) -> list[Reading]:
    tags = []
    for passage in document:
        tokens, ends = tokenize_words(passage, ChunkTokenizer(tokenize))
        states = iter(states_of((*PREFIX, *tokens), ends))
        for words in passage:
            of_words = np.array([next(states) for _ in words])
            tags.append(HEAD.log_probabilities(of_words, HEAD.last))
    sentences = [words for passage in document for words in passage]
    return [
        HEAD.tag(words, log_p)
        for words, log_p in zip(sentences, consistent(sentences, tags), strict=True)
    ]


def written_where_in_doubt(
    written: list[ScoredSpan], reading: Reading, threshold: float
) -> list[ScoredSpan]:
    """What was written, to the first place after all doubt where neither is inside an entity, and
    what was read after it."""
    doubtful = [number for number, p in enumerate(reading.words) if p <= threshold]
    end = doubtful[-1] + 1 if doubtful else 0
    while doubtful and any(s.start < end < s.end for s in [*written, *reading.spans]):
        end += 1
    before = [span for span in written if span.end <= end]
    return before + [span for span in reading.spans if span.start >= end]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), max_size=40),
    st.integers(1, 5),
    st.sampled_from([90, 200, 512]),  # every sentence is read at once: none has more than 81
    st.sampled_from([-1.0, 0.3, 0.5, 0.8, 1.0]),
    st.booleans(),
    st.sampled_from([0, 12, 30]),
    st.sampled_from([0, 40, 400]),
)
def test_sentences_are_written_up_to_their_last_word_in_doubt(
    sentences: list[list[str]],
    in_flight: int,
    batch: int,
    threshold: float,
    prior: bool,
    of_passage: int,
    of_document: int,
) -> None:
    model = StubModel(batch, PREFIX)
    reader = SentenceReader(model, HEAD, PROMPTS)
    engine = CopyEngine(
        model, LABELS, PROMPTS, in_flight=in_flight, reader=reader, threshold=threshold, prior=prior
    )

    def fits(passage: Passage) -> bool:
        tokens, _ = tokenize_words(passage, engine.chunks)
        return sum(map(len, passage)) <= of_passage and len(tokens) <= batch

    documents = [
        list(passages(document, fits))
        for document in passages(sentences, lambda some: sum(map(len, some)) <= of_document)
    ]
    found = list(Scheduler(engine).decode(documents))
    readings = [reading for document in documents for reading in read_naively(document)]
    for decoded, reading in zip(found, readings, strict=True):
        assert decoded.reading is not None
        assert decoded.reading.words == pytest.approx(reading.words, rel=1e-4)
        assert_same([Decoded(decoded.reading.spans)], [reading.spans])
    written = [
        naive(words, ReadingPrior(reading.log_probabilities, LABELS) if prior else None)
        for words, reading in zip(sentences, readings, strict=True)
    ]
    expected = [
        written_where_in_doubt(spans, reading, threshold)
        for spans, reading in zip(written, readings, strict=True)
    ]
    assert_same(found, expected)
    if threshold == 1.0:
        assert_same(found, written)
    if threshold < 0:
        assert expected == [reading.spans for reading in readings]
    assert all(not held for sequence, held in model.memory.items() if sequence)


def test_at_threshold_1_even_a_certain_word_is_in_doubt() -> None:
    reading = Reading([], [1.0, 1.0], NO_TAGS)
    assert reading.ends(1.0) == {2}
    assert reading.ends(0.999) is None


def test_a_right_reading_is_written_in_one_batch() -> None:
    words = ["Ada", "of", "London", "."]
    model = StubModel(512, PREFIX)
    reading = Reading(naive(words), [0.5] * 4, NO_TAGS)
    reader = SentenceReader(model, HEAD, PROMPTS)
    reader.tag = lambda sentences, tags: [reading]  # type: ignore[method-assign]
    batches = []
    model.decode = lambda runs: batches.append(runs) or StubModel.decode(model, runs)  # type: ignore
    engine = CopyEngine(model, LABELS, PROMPTS, in_flight=2, reader=reader)
    assert_same(list(Scheduler(engine).decode(alone([words]))), [naive(words)])
    assert len(batches) == 1


def test_a_sentence_in_doubt_does_not_wait_for_all_that_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []

    def source() -> Iterator[list[str]]:
        yield ["Ada", "the"]
        for number in range(2000):
            taken.append(number)
            yield ["London"]

    monkeypatch.setattr(Reading, "ends", lambda self, _: {2} if len(self.words) == 2 else None)
    model = StubModel(512, PREFIX)
    engine = CopyEngine(
        model, LABELS, PROMPTS, in_flight=8, reader=SentenceReader(model, HEAD, PROMPTS)
    )
    next(Scheduler(engine).decode(alone(source())))
    assert len(taken) < 500


def test_a_sentence_too_long_to_be_read_at_once_does_not_fit() -> None:
    model = StubModel(20, PREFIX)
    reader = SentenceReader(model, HEAD, PROMPTS)
    written = CopyEngine(model, LABELS, PROMPTS, in_flight=1)
    read = CopyEngine(model, LABELS, PROMPTS, in_flight=1, reader=reader)
    words = ["London"] * 15  # 6 bytes and 14 tokens
    assert read.fits(words)
    assert [engine.fits([*words, "London"]) for engine in (written, read)] == [True, False]


def test_a_prompt_longer_than_a_batch_goes_in_pieces() -> None:
    words = ["London", "the"] * 40
    engine = CopyEngine(StubModel(49, PREFIX), LABELS, PROMPTS, in_flight=2)
    assert_same(
        list(Scheduler(engine).decode(alone([words, ["Ada"]]))), [naive(words), naive(["Ada"])]
    )


def test_an_abandoned_decode_leaves_no_sentence_behind() -> None:
    model = StubModel(512, PREFIX)
    engine = CopyEngine(model, LABELS, PROMPTS, in_flight=3)
    results = Scheduler(engine).decode(alone([["Ada", "London"]] * 10))
    next(results)
    results.close()
    assert all(not held for sequence, held in model.memory.items() if sequence)
    assert_same(list(Scheduler(engine).decode(alone([["Ada", "the"]]))), [naive(["Ada", "the"])])


class NotFinite(StubModel):
    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return [math.nan] * len(tokens)


def test_numbers_that_are_not_finite_are_an_error() -> None:
    engine = CopyEngine(NotFinite(512, PREFIX), LABELS, PROMPTS, in_flight=1)
    with pytest.raises(ModelError, match="not finite"):
        list(Scheduler(engine).decode(alone([["Ada"]])))


def whole(text: str, *, special: bool = False, start: bool = False) -> list[int]:
    """One token for any text."""
    return [hash(text)]


def test_a_vocabulary_that_joins_words_across_spaces_is_noticed() -> None:
    assert chunks_tokenize_alone(tokenize)
    assert not chunks_tokenize_alone(whole)
