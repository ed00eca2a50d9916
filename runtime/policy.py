"""How far to guess ahead: copying is drafted only while an entity is improbable."""

from collections.abc import Sequence
from typing import Literal

from ner_edge.runtime.automaton import State

Guess = Literal["copy", "close"] | None


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
        first = words[state.position][0]
        if first.isupper() or first.isdigit():
            return None
        return "copy" if state.begin is None else "close"
