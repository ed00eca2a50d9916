"""How far to guess ahead: copying is drafted only while an entity is improbable."""

from collections.abc import Sequence
from typing import Literal

from ner_edge.runtime.automaton import State

Guess = Literal["copy", "open", "close"] | None


class DraftPolicy:
    """Guess the move at a decision, or None to wait for the model.

    A guess that the model rejects costs the evaluation of what was drafted behind it, never a
    different result. Names in most scripts with case begin with a capital, so that is where
    drafting stops; after the first word of an entity, a word in lower case closes it.
    """

    max_tokens = 48
    """Draft at most so many tokens at once."""

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


def _may_be_a_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit()
