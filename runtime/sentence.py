"""One sentence on its way through the automaton: what to feed the model, and what it decided."""

import math
from collections.abc import Callable, Sequence

from ner_edge.errors import ModelError
from ner_edge.runtime.automaton import START, CopyAutomaton, Move, State
from ner_edge.runtime.policy import AdaptiveDraft, DraftPolicy
from ner_edge.runtime.trie import ChunkTokenizer, Node, build_trie
from ner_edge.spans import ScoredSpan

Logits = Callable[[int, Sequence[int]], Sequence[float]]
"""(index among the tokens fed, candidate tokens) → logits of the candidates after that token."""


class SentenceDecoder:
    """Decodes one sentence greedily.

    Until `finished`: feed `pending` to the model, ask for logits at the indices `wanted`, call
    `settle`, and make the model forget all of `pending` but the first tokens it counts.
    """

    def __init__(
        self,
        words: Sequence[str],
        labels: Sequence[str],
        prompt: Sequence[int],
        chunks: ChunkTokenizer,
        policy: DraftPolicy,
    ) -> None:
        self._automaton = CopyAutomaton(words, labels)
        self._chunks = chunks
        self.policy = policy
        self._draft = AdaptiveDraft()
        self._tries: dict[State, Node] = {}
        self._state = START
        self._node = self._trie(START)
        self._known = list(prompt)  # tokens that are certain but not yet fed
        self._entity_log_p = 0.0
        self._move_log_p = 0.0
        self.spans: list[ScoredSpan] = []
        self.pending: list[int] = []
        self.wanted: list[int] = []
        self._prepare()

    @property
    def finished(self) -> bool:
        """Is every word written?"""
        return self._state == self._automaton.end

    def settle(self, logits: Logits) -> int:
        """Take the decisions that were fed, up to the first that was guessed wrong.

        Returns how many tokens of `pending` stand. The next `pending` and `wanted` are ready.
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
        """How many tokens of `pending` are no draft."""
        return len(self._known)

    def shorten(self, count: int) -> None:
        """Draft only what fits `count` tokens of `pending`, at least the certain ones."""
        self.wanted = [index for index in self.wanted if index < count]
        del self.pending[self.wanted[-1] + 1 :]

    def feed_ahead(self, count: int) -> list[int]:
        """Hand out up to `count` certain tokens of a `pending` too long for one batch."""
        piece = self._known[: min(count, len(self._known) - 1)]
        del self._known[: len(piece)], self.pending[: len(piece)]
        self.wanted = [index - len(piece) for index in self.wanted]
        return piece

    def _decide(self, index: int, logits: Logits) -> int:
        candidates = list(self._node)
        token, log_p = candidates[0], 0.0
        if len(candidates) > 1:
            values = logits(index, candidates)
            best = max(values)
            total = sum(math.exp(value - best) for value in values)
            if not math.isfinite(total):
                raise ModelError("the model's logits are not finite; the file may be damaged")
            token, log_p = candidates[values.index(best)], -math.log(total)
        self._take(token, log_p)
        return token

    def _take(self, token: int, log_p: float) -> None:
        self._move_log_p += log_p
        below = self._node[token]
        if isinstance(below, dict):
            self._node = below
            return
        for move in below:
            self._account(move)
        self._move_log_p = 0.0
        self._node = self._trie(self._state)

    def _account(self, move: Move) -> None:
        """An entity's score is p(open) · Π p(stay) · p(close) · p(label)."""
        self._draft.chose(self._automaton.words, self._state, move)
        begin = self._state.begin
        if begin is None and move.target.begin is not None:
            self._entity_log_p = self._move_log_p
        elif begin is not None:
            self._entity_log_p += self._move_log_p
        if move.label is not None and begin is not None:
            score = math.exp(self._entity_log_p)
            self.spans.append(ScoredSpan(begin, self._state.position, move.label, score))
        self._state = move.target

    def _prepare(self) -> None:
        """Write what is forced, then draft on past the decisions whose outcome is guessed."""
        while len(self._node) == 1:
            token = next(iter(self._node))
            self._known.append(token)
            self._take(token, 0.0)
        self.pending, self.wanted = list(self._known), []
        if self.finished:
            self.pending = []
        state, node = self._state, self._node
        script: list[int] = []  # the rest of the tokens of the move being drafted
        room = self._draft.max_tokens(self.policy)
        while node and room > 0:
            if len(node) == 1:
                token = next(iter(node))
            else:
                self.wanted.append(len(self.pending) - 1)
                if node is self._trie(state):
                    script = self._guessed(state)
                if not script or script[0] not in node:
                    break
                token = script[0]
            script = script[1:]
            self.pending.append(token)
            room -= 1
            below = node[token]
            if isinstance(below, dict):
                node = below
            else:
                state = below[-1].target
                node = self._trie(state)
        if self.wanted:  # what stands behind the last decision need not be fed yet
            del self.pending[self.wanted[-1] + 1 :]

    def _guessed(self, state: State) -> list[int]:
        guess = self._draft.guess(self.policy, self._automaton.words, state)
        if guess == "copy" and (move := self._automaton.copy(state)):
            return list(self._chunks.of_move(move))
        if guess == "open" and (move := self._automaton.open(state)):
            return list(self._chunks.of_move(move))
        if guess == "close" and (closing := self._automaton.close(state)):
            return list(self._chunks.tokens(closing[0].chunks[0]))  # the label is the model's
        return []

    def _trie(self, state: State) -> Node:
        if state == self._automaton.end:
            return {}
        if state not in self._tries:
            self._tries[state] = build_trie(self._automaton, state, self._chunks)
        return self._tries[state]
