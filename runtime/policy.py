"""Draft policies of speculative decoding: copying is drafted while an entity is improbable."""

from collections.abc import Sequence
from typing import Literal

from ner_edge.runtime.automaton import Move, State
from ner_edge.spans import ScoredSpan

Choice = Literal["copy", "open", "close"]
Guess = Choice | None


class DraftPolicy:
    """Guesses the move at a decision, or None to wait for the model.

    A rejected guess wastes the evaluation of the tokens drafted after it, but never changes the
    result. Names usually begin with a capital or a digit, so drafting stops there. A word in lower
    case closes an entity.
    """

    max_tokens = 48
    """The longest first draft."""
    adapts = True
    """Whether decisions taken in the sentence may overrule the guesses."""

    def label(self, state: State) -> str | None:
        """Return the likely label of an entity that closes in `state`; None leaves it to the
        model."""
        return None

    def guess(self, words: Sequence[str], state: State) -> Guess:
        """Return the likely next move from `state`."""
        if state.position == len(words):
            return None
        if _may_be_a_name(words[state.position]):
            return None
        return "copy" if state.begin is None else "close"


class BoldPolicy(DraftPolicy):
    """The policy for a sentence alone in its batch, where a few more tokens cost little.

    A capital opens an entity, and the last capital in a row ends it.
    """

    max_tokens = 24

    def guess(self, words: Sequence[str], state: State) -> Guess:
        """Return the likely next move from `state`."""
        if state.position == len(words):
            return "close"
        word = words[state.position]
        if state.begin is None:
            return "open" if word[0].isupper() else "copy"
        return "copy" if _may_be_a_name(word) else "close"


class ReadPolicy(DraftPolicy):
    """Drafts the answer that the word head gave, labels included."""

    max_tokens = 512
    adapts = False

    def __init__(self, spans: Sequence[ScoredSpan]) -> None:
        self._begins = {span.start: span for span in spans}

    def guess(self, words: Sequence[str], state: State) -> Guess:
        """Return the likely next move from `state`."""
        if state.begin is None:
            return "open" if state.position in self._begins else "copy"
        span = self._begins.get(state.begin)
        if span is None:  # the model has opened another entity
            return super().guess(words, state) or "close"
        return "copy" if state.position < span.end else "close"

    def label(self, state: State) -> str | None:
        """Return the label that the word head gave."""
        span = None if state.begin is None else self._begins.get(state.begin)
        return span.label if span else None


class AdaptiveDraft:
    """Adapts the drafts of one sentence to the decisions taken in it so far.

    Without it, unusual text, such as a table or a line of capitals, would cost a rejected draft per
    word.
    """

    _SHORTEST = 12  # fewer tokens save little
    _IN_A_ROW = 3

    def __init__(self) -> None:
        self._length: int | None = None
        self._chosen: dict[tuple[bool, str], tuple[Choice, int]] = {}

    def max_tokens(self, policy: DraftPolicy) -> int:
        """Return the most tokens to draft at once."""
        return self._length or policy.max_tokens

    def guess(self, policy: DraftPolicy, words: Sequence[str], state: State) -> Guess:
        """Return what was chosen repeatedly before words of this kind, else the policy's guess."""
        choice, times = self._chosen.get(_kind(words, state), (None, 0))
        learnt = policy.adapts and times >= self._IN_A_ROW
        return choice if learnt else policy.guess(words, state)

    def chose(self, words: Sequence[str], state: State, move: Move) -> None:
        """Record that the model chose `move` in `state`."""
        choice: Choice = "copy"
        if move.target.begin != state.begin:
            choice = "open" if state.begin is None else "close"
        kind = _kind(words, state)
        last, times = self._chosen.get(kind, (choice, 0))
        self._chosen[kind] = (choice, times + 1 if choice == last else 1)

    def checked(self, drafted: int, accepted: int, policy: DraftPolicy) -> None:
        """Record that the model accepted the first `accepted` of `drafted` tokens.

        The next draft may be twice as long, so rejected tokens stay in proportion to accepted ones.
        """
        at_least = self.max_tokens(policy) if accepted == drafted else self._SHORTEST
        self._length = max(at_least, 2 * accepted)


def _kind(words: Sequence[str], state: State) -> tuple[bool, str]:
    # Inside an entity or not, and how the next word begins.
    first = words[state.position][0] if state.position < len(words) else ""
    return state.begin is not None, "1" if first.isdigit() else "A" if first.isupper() else "a"


def _may_be_a_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()
