"""Which columns of a CoNLL file hold the word and the tag."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ner_edge.data.schemes import spelt_like_a_tag
from ner_edge.errors import UsageError

# Chunks as CoNLL-2000 and 2003 (English, German) name them, written like entities beside them.
_CHUNK = re.compile("ADJP|ADVP|CONJP|INTJ|LST|NP|PP|PRT|SBAR|UCP|VP|ADJC|ADVC|CONJC|NC|PC|VC")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NO_WORD = re.compile(r"[0-9]{1,9}[-.][0-9]{1,9}")
"""CoNLL-U's number of a token that stands for several words (1-2), or of an omitted word (8.1)."""


class Columns(NamedTuple):
    """The columns of the word and of the tag; they count from 1."""

    word: int
    tag: int


def parse_columns(text: str | None) -> Columns | None:
    """The value of `--columns`. Raises `UsageError`."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([1-9]\d{0,3})\s*,\s*([1-9]\d{0,3})\s*", text, re.ASCII)
    if match is None or int(match[1]) == int(match[2]):
        raise UsageError(f"--columns {text}: expected WORD,TAG, two column numbers like 1,4")
    return Columns(int(match[1]), int(match[2]))


def is_counting(sentences: Iterable[Sequence[Sequence[str]]]) -> bool:
    """Does the first cell of every row number it, going up by one through each sentence?"""
    goes_on = False
    for rows in sentences:
        cells = [row[0] for row in rows if not is_no_word(row)]
        if not all(map(_NUMBER.fullmatch, cells)):
            return False
        if any(int(second) != int(first) + 1 for first, second in pairwise(cells)):
            return False
        goes_on |= len(cells) > 1
    return goes_on


def is_no_word(row: Sequence[str]) -> bool:
    """Is it a row of CoNLL-U that is no word but stands beside those of words?"""
    return bool(_NO_WORD.fullmatch(row[0]))


def tag_columns(rows: Iterable[Sequence[str]], word: int, width: int) -> list[int]:
    """The columns that may be that of the tags; several are for a user to choose from.

    The tags are in the column behind the word of which at least half the cells are spelt like
    tags, O or a prefix and a label. If there are several, those that name only chunks (NP, VP, …)
    or nothing at all are not meant; if there is none, it is the last column, so that misspelt tags
    are named.
    """
    cells = {column: Counter[str]() for column in range(word + 1, width + 1)}
    for row in rows:
        for column, counts in cells.items():
            counts[row[column - 1]] += 1
    labels = {}
    for column, counts in cells.items():
        tags = [tag for tag in counts if spelt_like_a_tag(tag)]
        if 2 * sum(counts[tag] for tag in tags) >= counts.total():
            labels[column] = {tag[2:] for tag in tags if tag != "O"}
    entities = [c for c, names in labels.items() if not all(map(_CHUNK.fullmatch, names))]
    chunks_or_nothing = [column for column, names in labels.items() if not names]
    return entities or chunks_or_nothing[-1:] or list(labels)[-1:] or [width]
