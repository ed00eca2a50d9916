"""The copy automaton: the output must be the input words in order, plus brackets.

Two kinds of state, *outside before word i* and *inside an entity that began at word b, before word
i*, make a right-linear grammar of 2n states. This file knows words and text only; `trie.py` knows
tokens, `grammar.py` writes the same automaton as GBNF.
"""

from collections.abc import Sequence
from typing import NamedTuple

PIPE = "|"


class State(NamedTuple):
    """Before word `position` (0-based); inside an entity that began at word `begin`, or outside if
    it is None."""

    position: int
    begin: int | None


class Move(NamedTuple):
    """One way on from a state: write `chunks`, which hold no inner space boundary, and be in
    `target`. A move with a `label` closes an entity."""

    chunks: tuple[str, ...]
    target: State
    label: str | None = None


START = State(0, None)


class CopyAutomaton:
    """The automaton of one sentence; `words` are not empty and hold no white space."""

    def __init__(self, words: Sequence[str], labels: Sequence[str]) -> None:
        self.words = words
        self._labels = labels
        self.end = State(len(words), None)

    def copy(self, state: State) -> Move | None:
        """Copy the next word, if that is legal."""
        position, begin = state
        if position == len(self.words):
            return None
        word = self.words[position]
        if begin is not None and word == PIPE:
            return None  # no entity holds a literal pipe: inside, a pipe always closes
        last = position + 1 == len(self.words)
        newline = "\n" if last and begin is None else ""
        return Move((self._space(position) + word + newline,), State(position + 1, begin))

    def open(self, state: State) -> Move | None:
        """Begin an entity with the next word, if that is legal."""
        position, begin = state
        if begin is not None or position == len(self.words) or self.words[position] == PIPE:
            return None
        chunk = f"{self._space(position)}[{self.words[position]}"
        return Move((chunk,), State(position + 1, position))

    def close(self, state: State) -> list[Move]:
        """End the entity with each of the labels, if that is legal."""
        position, begin = state
        if begin is None:
            return []
        newline = "\n" if position == len(self.words) else ""
        target = State(position, None)
        return [Move((f" {PIPE}", f" {label}]{newline}"), target, label) for label in self._labels]

    def moves(self, state: State) -> list[Move]:
        """Every legal way on from `state`; none from `end`."""
        simple = [move for move in (self.copy(state), self.open(state)) if move is not None]
        return simple + self.close(state)

    @staticmethod
    def _space(position: int) -> str:
        return " " if position else ""
