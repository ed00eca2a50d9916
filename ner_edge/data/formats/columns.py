"""Find the columns of word and tag in a CoNLL file."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ner_edge.data.schemes import spelt_like_a_tag
from ner_edge.errors import UsageError

# The chunk labels of CoNLL-2000 and 2003 (English, German), which are tagged like entities.
_CHUNK = re.compile("ADJP|ADVP|CONJP|INTJ|LST|NP|PP|PRT|SBAR|UCP|VP|ADJC|ADVC|CONJC|NC|PC|VC")
_NUMBER = re.compile(r"[0-9]{1,9}")
_NO_WORD = re.compile(r"[0-9]{1,9}[-.][0-9]{1,9}")
"""The numbers of CoNLL-U for multi-word tokens (1-2) and omitted words (8.1)."""


class Columns(NamedTuple):
    """The columns of the word and of the tag, counted from 1."""

    word: int
    tag: int


def columns_of(files: Sequence[Path], options: Iterable[str]) -> list[Columns | None]:
    """Return the columns of each file, by the values of `--columns`: `WORD,TAG` for all files, or
    `FILE=WORD,TAG` for one. None means that they are recognized.

    Raises `UsageError` for anything else, and for a FILE that is not among the files.
    """
    for_all: Columns | None = None
    for_one: dict[Path, Columns | None] = {}
    for option in options:
        name, _, text = option.rpartition("=")
        if not name:
            for_all = parse_columns(text)
        elif Path(name) in files:
            for_one[Path(name)] = parse_columns(text)
        else:
            raise UsageError(f"--columns {option}: {name} is not one of the data files")
    return [for_one.get(file, for_all) for file in files]


def parse_columns(text: str | None) -> Columns | None:
    """Parse `WORD,TAG`. Raises `UsageError`."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([1-9]\d{0,3})\s*,\s*([1-9]\d{0,3})\s*", text, re.ASCII)
    if match is None or int(match[1]) == int(match[2]):
        raise UsageError(f"--columns {text}: expected WORD,TAG, two column numbers such as 1,4")
    return Columns(int(match[1]), int(match[2]))


def is_counting(sentences: Iterable[Sequence[Sequence[str]]]) -> bool:
    """Whether the first column numbers the rows, going up by one within each sentence."""
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
    """Whether this is a row of CoNLL-U for a multi-word token or an omitted word."""
    return bool(_NO_WORD.fullmatch(row[0]))


def tag_columns(rows: Iterable[Sequence[str]], word: int, width: int) -> list[int]:
    """Return the columns that may contain the tags; if there are several, the user must choose.

    A candidate is a column after the word of which at least half the cells are spelt like tags: O,
    or a prefix and a label. Columns that name only chunks (NP, VP, …), or no label at all, are
    dropped if others remain. Without a candidate it is the last column, so that its tags are
    reported as misspelt.
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
