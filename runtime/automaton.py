"""The copy automaton: the output must be the input words in order, plus brackets.

Its states are *outside, before word i* and *inside an entity that began at word b, before word i*.
They make a right-linear grammar of 2n states. This module deals with words and text; `trie.py`
turns the automaton into tokens, and `grammar.py` writes it as GBNF.
"""

from collections.abc import Sequence
from typing import NamedTuple

PIPE = "|"


class State(NamedTuple):
    """A position in the sentence, outside of entities or inside one."""

    position: int
    """Index of the next word."""
    begin: int | None
    """Index of the first word of the entity; None outside."""


class Move(NamedTuple):
    """A transition: write `chunks` and go to `target`. If it has a `label`, it closes an entity.

    A chunk is a piece of output without white space inside; it may begin with a space and end with
    a newline.
    """

    chunks: tuple[str, ...]
    target: State
    label: str | None = None


START = State(0, None)


class CopyAutomaton:
    """The automaton of one sentence, whose words are non-empty and free of white space."""

    def __init__(self, words: Sequence[str], labels: Sequence[str]) -> None:
        self.words = words
        self._labels = labels
        self.end = State(len(words), None)

    def copy(self, state: State) -> Move | None:
        """Return the move that copies the next word; None if that is illegal."""
        position, begin = state
        if position == len(self.words):
            return None
        word = self.words[position]
        if begin is not None and word == PIPE:
            return None  # inside an entity a pipe always closes it
        last = position + 1 == len(self.words)
        newline = "\n" if last and begin is None else ""
        return Move((self._space(position) + word + newline,), State(position + 1, begin))

    def open(self, state: State) -> Move | None:
        """Return the move that begins an entity with the next word; None if that is illegal."""
        position, begin = state
        if begin is not None or position == len(self.words) or self.words[position] == PIPE:
            return None
        chunk = f"{self._space(position)}[{self.words[position]}"
        return Move((chunk,), State(position + 1, position))

    def close(self, state: State) -> list[Move]:
        """Return the moves that end the entity, one for each label; none outside an entity."""
        position, begin = state
        if begin is None:
            return []
        newline = "\n" if position == len(self.words) else ""
        target = State(position, None)
        return [Move((f" {PIPE}", f" {label}]{newline}"), target, label) for label in self._labels]

    def moves(self, state: State) -> list[Move]:
        """Return every legal move from `state`; none from `end`."""
        simple = [move for move in (self.copy(state), self.open(state)) if move is not None]
        return simple + self.close(state)

    @staticmethod
    def _space(position: int) -> str:
        return " " if position else ""
