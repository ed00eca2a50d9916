"""How far to guess ahead: copying is drafted only while an entity is improbable."""

from collections.abc import Sequence
from typing import Literal

from ner_edge.runtime.automaton import Move, State

Choice = Literal["copy", "open", "close"]
Guess = Choice | None


class DraftPolicy:
    """Guess the move at a decision, or None to wait for the model.

    A guess that the model rejects costs the evaluation of what was drafted behind it, never a
    different result. Names in most scripts with case begin with a capital, so that is where
    drafting stops; after the first word of an entity, a word in lower case closes it.
    """

    max_tokens = 48
    """Draft at most so many tokens at first."""

    def guess(self, words: Sequence[str], state: State) -> Guess:
        """The likely next move from `state`."""
        if state.position == len(words):
            return None
        if _may_be_a_name(words[state.position]):
            return None
        return "copy" if state.begin is None else "close"


class BoldPolicy(DraftPolicy):
    """For a sentence alone in its batch: a few tokens more take hardly more time than one, so a
    capital is taken for an entity, which ends with the last of its capitals."""

    max_tokens = 24

    def guess(self, words: Sequence[str], state: State) -> Guess:
        """The likely next move from `state`."""
        if state.position == len(words):
            return "close"
        word = words[state.position]
        if state.begin is None:
            return "open" if word[0].isupper() else "copy"
        return "copy" if _may_be_a_name(word) else "close"


class AdaptiveDraft:
    """What the decisions of one sentence teach about the next ones: text unlike what a policy
    expects, as a table or a line of capitals, would else cost a refused draft at each word."""

    _SHORTEST = 12  # fewer tokens take hardly less time
    _USUAL = 3

    def __init__(self) -> None:
        self._length: int | None = None
        self._chosen: dict[tuple[bool, str], tuple[Choice, int]] = {}

    def max_tokens(self, policy: DraftPolicy) -> int:
        """Draft at most so many tokens at once."""
        return self._length or policy.max_tokens

    def guess(self, policy: DraftPolicy, words: Sequence[str], state: State) -> Guess:
        """What was chosen several times in a row before words of this kind, else by `policy`."""
        choice, times = self._chosen.get(_kind(words, state), (None, 0))
        return choice if times >= self._USUAL else policy.guess(words, state)

    def chose(self, words: Sequence[str], state: State, move: Move) -> None:
        """The model chose `move` in `state`."""
        choice: Choice = "copy"
        if move.target.begin != state.begin:
            choice = "open" if state.begin is None else "close"
        kind = _kind(words, state)
        last, times = self._chosen.get(kind, (choice, 0))
        self._chosen[kind] = (choice, times + 1 if choice == last else 1)

    def checked(self, drafted: int, stood: int, policy: DraftPolicy) -> None:
        """Of `drafted` tokens the model chose the first `stood`. The next draft may be twice as
        long as that, so what is refused stays in proportion to what stands."""
        at_least = self.max_tokens(policy) if stood == drafted else self._SHORTEST
        self._length = max(at_least, 2 * stood)


def _kind(words: Sequence[str], state: State) -> tuple[bool, str]:
    """Inside an entity or not, and how the next word begins."""
    first = words[state.position][0] if state.position < len(words) else ""
    return state.begin is not None, "1" if first.isdigit() else "A" if first.isupper() else "a"


def _may_be_a_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()
