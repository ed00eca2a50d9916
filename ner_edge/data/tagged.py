"""Turn words with one tag each into sentences with entities."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ner_edge.data.corpus import Located, Problem, Sentence
from ner_edge.data.schemes import free_begins, is_bioes, misspelt, read_bioes
from ner_edge.spans import Span, spans_from_tags


class Row(NamedTuple):
    """A word with its tag, or several words, separated by white space, with one tag for all."""

    line: int
    word: str
    tag: str


Tagged = list[Row]
"""The rows of one sentence."""


@dataclass(frozen=True)
class TaggedSentences:
    """The sentences of a whole file."""

    scheme: str
    """`IOB1`, `IOB2`, `IOB` (a mixture, or no entity) or `BIOES`."""
    located: list[Located]
    illegal: list[Problem]
    doubtful: list[Problem]


def read_tagged(sentences: Sequence[Tagged]) -> TaggedSentences:
    """Read the entities of all sentences of a file.

    The tags are BIOES if any begins with `E-` or `S-`, else IOB1 or IOB2, which are read by one
    rule. White space inside a row's word separates words of the same entity.
    """
    tags = {row.tag for rows in sentences for row in rows}
    bioes = is_bioes(tags)
    wrong_tags = {tag: message for tag in tags if (message := misspelt(tag, bioes))}
    located, illegal = [], []
    begins: dict[str, list[Row]] = {"B": [], "I": []}
    for rows in sentences:
        illegal += [Problem(row.line, wrong_tags[row.tag]) for row in rows if row.tag in wrong_tags]
        legal = ["O" if row.tag in wrong_tags else row.tag for row in rows]
        if bioes:
            spans, wrong = read_bioes(legal)
            illegal += [Problem(rows[position].line, message) for position, message in wrong]
        else:
            spans = spans_from_tags(legal)
            for position, prefix in free_begins(legal):
                begins[prefix].append(rows[position])
        illegal += [Problem(row.line, fault) for row in rows if (fault := _fault(row.word))]
        located.append(Located(_in_words(rows, spans), rows[0].line))
    return TaggedSentences(
        "BIOES" if bioes else _scheme(begins), located, illegal, _mixed_begins(begins)
    )


def _fault(word: str) -> str | None:
    if "\0" in word:
        return "the word contains a NUL"
    return None if word and not word.isspace() else "the word is empty"


def _in_words(rows: Tagged, spans: Sequence[Span]) -> Sentence:
    words: list[str] = []
    starts = []
    for row in rows:
        starts.append(len(words))
        words += row.word.split()
    starts.append(len(words))
    return Sentence(words, [Span(starts[start], starts[end], label) for start, end, label in spans])


def _scheme(begins: dict[str, list[Row]]) -> str:
    if bool(begins["B"]) == bool(begins["I"]):
        return "IOB"
    return "IOB2" if begins["B"] else "IOB1"


def _mixed_begins(begins: dict[str, list[Row]]) -> list[Problem]:
    """Return entities that begin unlike most in the file: their real beginning may be missing."""
    few, many = sorted(begins, key=lambda prefix: len(begins[prefix]))
    return [
        Problem(row.line, f"{row.tag!r} begins an entity; most in this file begin with {many}-")
        for row in begins[few]
    ]
