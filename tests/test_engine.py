"""The copy engine is exact: its result depends only on the model and the sentence."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import StubModel, logits_after, tokenize

from ner_edge.errors import ModelError
from ner_edge.prompt import PromptTokenizer
from ner_edge.runtime.automaton import START, CopyAutomaton, State
from ner_edge.runtime.engine import CopyEngine
from ner_edge.runtime.policy import BoldPolicy, DraftPolicy, Guess
from ner_edge.runtime.trie import (
    ChunkTokenizer,
    Moves,
    Node,
    build_trie,
    chunks_tokenize_alone,
)
from ner_edge.spans import ScoredSpan

LABELS = ["ORG", "LOC", "ORL"]
PROMPTS = PromptTokenizer("Mark ", "\n>", tokenize)
PREFIX, SUFFIX = PROMPTS.prefix, PROMPTS.suffix
WORDS = ["Ada", "of", "the", "[", "[[", "]", "|", "London", "7", ".", "[a", "שלום", "😀"]


def naive(words: list[str]) -> list[ScoredSpan]:
    """One decision at a time, no drafts, no memory; scores straight from their definition."""
    chunks, automaton = ChunkTokenizer(tokenize), CopyAutomaton(words, LABELS)
    held = (*PREFIX, *chunks.of_words(words), *SUFFIX)
    state, spans, score = START, [], 1.0
    while state != automaton.end:
        node: Node | Moves = build_trie(automaton, state, chunks)
        p_move = 1.0
        while isinstance(node, dict):
            values = logits_after(held, list(node))
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


def assert_same(found: list[list[ScoredSpan]], expected: list[list[ScoredSpan]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [span[:3] for span in ours] == [span[:3] for span in theirs]
        assert [span.score for span in ours] == pytest.approx([span.score for span in theirs])


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
    found = list(engine.decode(sentences))
    assert_same(found, [naive(words) for words in sentences])
    assert all(not held for sequence, held in model.memory.items() if sequence)


def test_a_prompt_longer_than_a_batch_goes_in_pieces() -> None:
    words = ["London", "the"] * 40
    engine = CopyEngine(StubModel(49, PREFIX), LABELS, PROMPTS, in_flight=2)
    assert_same(list(engine.decode([words, ["Ada"]])), [naive(words), naive(["Ada"])])


def test_an_abandoned_decode_leaves_no_sentence_behind() -> None:
    model = StubModel(512, PREFIX)
    engine = CopyEngine(model, LABELS, PROMPTS, in_flight=3)
    results = engine.decode([["Ada", "London"]] * 10)
    next(results)
    results.close()
    assert all(not held for sequence, held in model.memory.items() if sequence)
    assert_same(list(engine.decode([["Ada", "the"]])), [naive(["Ada", "the"])])


class NotFinite(StubModel):
    def logits(self, row: int, tokens: Sequence[int]) -> list[float]:
        return [math.nan] * len(tokens)


def test_numbers_that_are_not_finite_are_an_error() -> None:
    engine = CopyEngine(NotFinite(512, PREFIX), LABELS, PROMPTS, in_flight=1)
    with pytest.raises(ModelError, match="not finite"):
        list(engine.decode([["Ada"]]))


def whole(text: str, *, special: bool = False, start: bool = False) -> list[int]:
    """One token for any text."""
    return [hash(text)]


def test_a_vocabulary_that_joins_words_across_spaces_is_noticed() -> None:
    assert chunks_tokenize_alone(tokenize)
    assert not chunks_tokenize_alone(whole)
