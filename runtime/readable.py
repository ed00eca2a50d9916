"""Leave out the parts of a sentence that are not language: base64, rows of emoji, lines of dashes.

They have many times as many tokens as ordinary text, and tagging time grows with the number of
tokens. No entity lies in them or spans them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from ner_edge.segment import MAX_WORD

MAX_TOKENS = 48
"""Words of more tokens are left out, and so are words of `MAX_WORD` characters, which were split
from something longer."""
MAX_SIGNS = 8
"""Longer runs of words without a letter or digit are left out."""


def readable_spans(
    words: Sequence[str], count_tokens: Callable[[str], int]
) -> Iterator[tuple[int, int]]:
    """Yield the parts to tag as (start, end) of `words`, half-open."""
    read = [len(word) < MAX_WORD and count_tokens(word) <= MAX_TOKENS for word in words]
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
