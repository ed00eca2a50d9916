"""The copy engine is exact: its result depends on the model and the sentence, on nothing else."""

import math
import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ner_edge.errors import ModelError
from ner_edge.runtime.automaton import START, CopyAutomaton, State
from ner_edge.runtime.engine import CopyEngine
from ner_edge.runtime.llama import Run
from ner_edge.runtime.policy import DraftPolicy, Guess
from ner_edge.runtime.trie import ChunkTokenizer, build_trie, chunks_tokenize_alone
from ner_edge.spans import ScoredSpan

LABELS = ["ORG", "LOC", "ORL"]
# Pieces that make one move's tokens the beginning of another's, and labels that share a first one.
MERGES = [" [", " [[", "[[", " |", " OR", "]\n", ".\n", " the", " London"]
PREFIX, SUFFIX = [1, 2, 3], [4, 5]
WORDS = ["Ada", "of", "the", "[", "[[", "]", "|", "London", "7", ".", "[a", "שלום", "😀"]


def tokenize(text: str) -> list[int]:
    """Bytes from 1000 on, and MERGES, longest first; chunks tokenize alone."""
    tokens = []
    for chunk in text.replace(" ", "\0 ").split("\0"):
        while chunk:
            merge = max((m for m in MERGES if chunk.startswith(m)), key=len, default="")
            if merge:
                tokens.append(2000 + MERGES.index(merge))
                chunk = chunk[len(merge) :]
            else:
                tokens += [1000 + byte for byte in chunk[0].encode()]
                chunk = chunk[1:]
    return tokens


class StubModel:
    """Logits are a hash of all that a sequence holds: any error of memory changes them."""

    context_size = 1000
    trained_context = 1000

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.memory: dict[int, list[int]] = {0: list(PREFIX)}
        self.rows: list[tuple[int, ...]] = []

    tokenize = staticmethod(tokenize)

    def decode(self, runs: Sequence[Run]) -> list[dict[int, int]]:
        assert 0 < sum(len(run.tokens) for run in runs) <= self.batch_size
        self.rows, result = [], []
        for run in runs:
            held = self.memory.setdefault(run.sequence, [])
            assert run.position == len(held)
            held.extend(run.tokens)
            row_of = {}
            for index in run.wanted:
                row_of[index] = len(self.rows)
                self.rows.append(tuple(held[: run.position + index + 1]))
            result.append(row_of)
        assert sum(map(len, self.memory.values())) <= self.context_size + 1000
        return result

    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return logits_after(self.rows[row], tokens)

    def share(self, source: int, target: int) -> None:
        self.memory[target] = list(self.memory[source])

    def forget(self, sequence: int, position: int) -> None:
        del self.memory[sequence][position:]


def logits_after(held: tuple[int, ...], tokens: Sequence[int]) -> list[float]:
    return [zlib.crc32(repr((held, token)).encode()) % 997 / 100 for token in tokens]


def naive(words: list[str]) -> list[ScoredSpan]:
    """One decision at a time, no drafts, no memory; scores straight from their definition."""
    chunks, automaton = ChunkTokenizer(tokenize), CopyAutomaton(words, LABELS)
    held = (*PREFIX, *chunks.of_words(words), *SUFFIX)
    state, spans, score = START, [], 1.0
    while state != automaton.end:
        node, p_move = build_trie(automaton, state, chunks), 1.0
        while True:
            values = logits_after(held, list(node))
            token = list(node)[values.index(max(values))]
            p_move *= math.exp(max(values)) / sum(math.exp(value) for value in values)
            held += (token,)
            if isinstance(node[token], tuple):
                break
            node = node[token]
        for move in node[token]:
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


def assert_same(found: list[list[ScoredSpan]], expected: list[list[ScoredSpan]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [span[:3] for span in ours] == [span[:3] for span in theirs]
        assert [span.score for span in ours] == pytest.approx([span.score for span in theirs])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), max_size=6),
    st.sampled_from([DraftPolicy, Reckless, Timid]),
    st.integers(1, 5),
    st.sampled_from([49, 120, 512]),
)
def test_result_is_that_of_naive_decoding(
    sentences: list[list[str]], policy: type[DraftPolicy], in_flight: int, batch: int
) -> None:
    model = StubModel(batch)
    engine = CopyEngine(model, LABELS, len(PREFIX), SUFFIX, in_flight=in_flight, policy=policy())
    found = list(engine.decode(sentences))
    assert_same(found, [naive(words) for words in sentences])
    assert all(not held for sequence, held in model.memory.items() if sequence)


def test_a_prompt_longer_than_a_batch_goes_in_pieces() -> None:
    words = ["London", "the"] * 40
    engine = CopyEngine(StubModel(49), LABELS, len(PREFIX), SUFFIX, in_flight=2)
    assert_same(list(engine.decode([words, ["Ada"]])), [naive(words), naive(["Ada"])])


def test_an_abandoned_decode_leaves_no_sentence_behind() -> None:
    model = StubModel(512)
    engine = CopyEngine(model, LABELS, len(PREFIX), SUFFIX, in_flight=3)
    results = engine.decode([["Ada", "London"]] * 10)
    next(results)
    results.close()
    assert all(not held for sequence, held in model.memory.items() if sequence)
    assert_same(list(engine.decode([["Ada", "the"]])), [naive(["Ada", "the"])])


def test_numbers_that_are_not_finite_are_an_error() -> None:
    model = StubModel(512)
    model.logits = lambda row, tokens: [math.nan] * len(tokens)  # type: ignore[method-assign]
    engine = CopyEngine(model, LABELS, len(PREFIX), SUFFIX, in_flight=1)
    with pytest.raises(ModelError, match="not finite"):
        list(engine.decode([["Ada"]]))


def test_a_vocabulary_that_joins_words_across_spaces_is_noticed() -> None:
    assert chunks_tokenize_alone(tokenize)
    assert not chunks_tokenize_alone(lambda text: [hash(text)])
