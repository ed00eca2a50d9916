"""Decode one sentence along the automaton: choose the tokens to feed, and take the decisions."""

import math
from collections.abc import Callable, Container, Sequence

from ner_edge.errors import ModelError
from ner_edge.runtime.automaton import START, CopyAutomaton, Move, State
from ner_edge.runtime.policy import AdaptiveDraft, DraftPolicy
from ner_edge.runtime.prior import ReadingPrior
from ner_edge.runtime.score import decide, entity_score
from ner_edge.runtime.trie import ChunkTokenizer, Node, build_trie
from ner_edge.spans import ScoredSpan

Logits = Callable[[int, Sequence[int]], Sequence[float]]
"""(index among the tokens fed, candidate tokens) → logits of the candidates after that token."""


class SentenceDecoder:
    """Decodes one sentence greedily, to its end or to a position outside of entities that is one of
    `ends`.

    Until `finished`: feed `pending` to the model, request logits at the indices `wanted`, call
    `settle`, and make the model forget all but the first tokens of `pending`, whose number `settle`
    returns.
    """

    def __init__(
        self,
        words: Sequence[str],
        labels: Sequence[str],
        prompt: Sequence[int],
        chunks: ChunkTokenizer,
        policy: DraftPolicy,
        ends: Container[int] = (),
        prior: ReadingPrior | None = None,
    ) -> None:
        self._ends = ends
        self._prior = prior
        self._automaton = CopyAutomaton(words, labels)
        self._chunks = chunks
        self.policy = policy
        self._draft = AdaptiveDraft()
        self._tries: dict[State, Node] = {}
        self._state = START
        self._node = self._trie(START)
        self._known = list(prompt)  # tokens that are certain but not yet fed
        self._move_log_p = 0.0
        self._entity_log_ps: list[float] = []  # of the moves since the entity began
        self.spans: list[ScoredSpan] = []
        self.pending: list[int] = []
        self.wanted: list[int] = []
        self._prepare()

    @property
    def finished(self) -> bool:
        """Whether nothing is left to write."""
        return self._is_end(self._state)

    @property
    def position(self) -> int:
        """The number of words written or decided to be written."""
        return self._state.position

    def settle(self, logits: Logits) -> int:
        """Take the decisions that were fed, up to the first that was drafted wrongly.

        Returns how many tokens of `pending` are accepted. `pending` and `wanted` then hold what
        comes next. Raises `ModelError` if logits are not finite.
        """
        known = len(self._known)
        last = known - 1
        self._known = []
        while not self._known:
            token = self._decide(last, logits)
            if self.pending[last + 1 : last + 2] == [token]:
                last += 1
            else:
                self._known = [token]
        if drafted := len(self.pending) - known:
            self._draft.checked(drafted, last + 1 - known, self.policy)
        self._prepare()
        return last + 1

    @property
    def certain(self) -> int:
        """The number of tokens of `pending` that are not drafted."""
        return len(self._known)

    def shorten(self, count: int) -> None:
        """Cut the draft so that `pending` has at most `count` tokens, at least `certain`."""
        self.wanted = [index for index in self.wanted if index < count]
        del self.pending[self.wanted[-1] + 1 :]

    def feed_ahead(self, count: int) -> list[int]:
        """Take up to `count` certain tokens off a `pending` too long for one batch."""
        piece = self._known[: min(count, len(self._known) - 1)]
        del self._known[: len(piece)], self.pending[: len(piece)]
        self.wanted = [index - len(piece) for index in self.wanted]
        return piece

    def _decide(self, index: int, logits: Logits) -> int:
        candidates = list(self._node)
        chosen, log_p = 0, 0.0
        if len(candidates) > 1:
            values = logits(index, candidates)
            if self._prior:
                values = self._prior.combined(values, self._state, self._node)
            chosen, log_p = decide(values)
            if not math.isfinite(log_p):
                raise ModelError("the model's logits are not finite; the file may be damaged")
        self._take(candidates[chosen], log_p)
        return candidates[chosen]

    def _take(self, token: int, log_p: float) -> None:
        self._move_log_p += log_p
        below = self._node[token]
        if isinstance(below, dict):
            self._node = below
            return
        for move in below:
            self._follow(move)
            if self.finished:
                break
        self._move_log_p = 0.0
        self._node = self._trie(self._state)

    def _follow(self, move: Move) -> None:
        self._draft.chose(self._automaton.words, self._state, move)
        begin = self._state.begin
        if begin is None:
            self._entity_log_ps = []
        self._entity_log_ps.append(self._move_log_p)
        if move.label is not None and begin is not None:
            score = entity_score(self._entity_log_ps)
            self.spans.append(ScoredSpan(begin, self._state.position, move.label, score))
        self._state = move.target

    def _prepare(self) -> None:
        while len(self._node) == 1:  # forced
            token = next(iter(self._node))
            self._known.append(token)
            self._take(token, 0.0)
        self.pending = [] if self.finished else list(self._known)
        self.wanted = []
        self._append_draft()
        if self.wanted:  # tokens after the last decision need not be fed yet
            del self.pending[self.wanted[-1] + 1 :]

    def _append_draft(self) -> None:
        """Append guessed tokens to `pending`, and the index before each decision to `wanted`."""
        state, node = self._state, self._node
        guessed: list[int] = []  # the rest of the tokens of the move being drafted
        room = self._draft.max_tokens(self.policy)
        while node and room > 0:
            if len(node) == 1:
                token = next(iter(node))
            else:
                self.wanted.append(len(self.pending) - 1)
                if node is self._trie(state):
                    guessed = self._guessed(state)
                if not guessed or guessed[0] not in node:
                    break
                token = guessed[0]
            guessed = guessed[1:]
            self.pending.append(token)
            room -= 1
            below = node[token]
            if isinstance(below, dict):
                node = below
            else:
                state = below[-1].target
                node = self._trie(state)

    def _guessed(self, state: State) -> list[int]:
        guess = self._draft.guess(self.policy, self._automaton.words, state)
        if guess == "copy" and (move := self._automaton.copy(state)):
            return list(self._chunks.of_move(move))
        if guess == "open" and (move := self._automaton.open(state)):
            return list(self._chunks.of_move(move))
        if guess == "close" and (closing := self._automaton.close(state)):
            label = self.policy.label(state)
            for move in closing:
                if move.label == label:
                    return list(self._chunks.of_move(move))
            return list(self._chunks.tokens(closing[0].chunks[0]))  # the model chooses the label
        return []

    def _is_end(self, state: State) -> bool:
        ends_here = state.begin is None and state.position in self._ends
        return ends_here or state == self._automaton.end

    def _trie(self, state: State) -> Node:
        if self._is_end(state):
            return {}
        if state not in self._tries:
            self._tries[state] = build_trie(self._automaton, state, self._chunks)
        return self._tries[state]
