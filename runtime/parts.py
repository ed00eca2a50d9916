"""The parts of a sentence that the model reads: it is spared what is no language.

Reading takes time by the token, and what nobody wrote as a sentence has many times the tokens of
one: base64, rows of emoji, lines drawn with dashes. No entity is in it or goes across it.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from ner_edge.segment import MAX_WORD

MAX_TOKENS = 48
"""A word of more tokens is not read, nor is one as long as segmentation leaves them: it is a piece
of something longer."""
MAX_SIGNS = 8
"""Nor are more words in a row that hold neither a letter nor a digit."""


def parts(words: Sequence[str], count: Callable[[str], int]) -> Iterator[tuple[int, int]]:
    """The parts to be read, as spans of `words`; `count` gives the tokens of a word."""
    read = [len(word) < MAX_WORD and count(word) <= MAX_TOKENS for word in words]
    for is_sign, run in _runs([not any(map(str.isalnum, word)) for word in words]):
        if is_sign and len(run) > MAX_SIGNS:
            read[run.start : run.stop] = [False] * len(run)
    for is_read, run in _runs(read):
        if is_read:
            yield run.start, run.stop


def _runs(values: Sequence[bool]) -> Iterator[tuple[bool, range]]:
    start = 0
    for value, group in groupby(values):
        run = range(start, start + len(list(group)))
        yield value, run
        start = run.stop
