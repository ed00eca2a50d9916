"""CoNLL columns: a word and its tag per line, blank lines between sentences."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from ner_edge.corpus import DOCSTART, Labelled, Located, Problem, Sentence, shortened
from ner_edge.schemes import free_begins, is_bioes, misspelt, read_bioes
from ner_edge.spans import iob1_from_spans, spans_from_tags


class _Row(NamedTuple):
    line: int
    word: str
    tag: str


def scan_conll(path: Path, lines: Sequence[bytes]) -> Labelled:
    """Read columns separated by white space: the word first, its tag last.

    The tags are BIOES if any of them begins with `E-` or `S-`, else IOB1 or IOB2, which one rule
    reads.
    """
    blocks, illegal, doubtful = _blocks(lines)
    tags = {row.tag for rows in blocks for row in rows}
    bioes = is_bioes(tags)
    wrong_tags = {tag: message for tag in tags if (message := misspelt(tag, bioes))}
    located = []
    begins: dict[str, list[_Row]] = {"B": [], "I": []}
    for rows in blocks:
        illegal += [Problem(row.line, wrong_tags[row.tag]) for row in rows if row.tag in wrong_tags]
        legal = ["O" if row.tag in wrong_tags else row.tag for row in rows]
        if bioes:
            spans, wrong = read_bioes(legal)
            illegal += [Problem(rows[position].line, message) for position, message in wrong]
        else:
            spans = spans_from_tags(legal)
            for position, prefix in free_begins(legal):
                begins[prefix].append(rows[position])
        located.append(Located(Sentence([row.word for row in rows], spans), rows[0].line))
    doubtful += _mixed_begins(begins)
    scheme = "BIOES" if bioes else _scheme(begins)
    return Labelled(path, scheme, located, sorted(illegal), sorted(doubtful), [])


def _blocks(lines: Sequence[bytes]) -> tuple[list[list[_Row]], list[Problem], list[Problem]]:
    """The rows of each sentence, what cannot be read, and what has an unusual number of columns."""
    blocks: list[list[_Row]] = [[]]
    illegal = []
    widths: list[tuple[int, int]] = []
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            illegal.append(Problem(number, f"not UTF-8 text ({error.reason})"))
            text = line.decode("utf-8", "replace")
        columns = text.split()
        if not columns:
            if blocks[-1]:
                blocks.append([])
            continue
        if len(columns) < 2:
            found = shortened(columns[0])
            illegal.append(Problem(number, f"expected a word and its tag, found {found}"))
            columns.append("O")
        elif columns[0] != DOCSTART:
            widths.append((number, len(columns)))
        if "\0" in columns[0]:
            illegal.append(Problem(number, "the word holds a NUL"))
        blocks[-1].append(_Row(number, columns[0], columns[-1]))
    usual = Counter(width for _, width in widths).most_common(1)
    doubtful = [
        Problem(number, f"has {width} columns; most lines have {usual[0][0]}")
        for number, width in widths
        if width != usual[0][0]
    ]
    return [rows for rows in blocks if rows], illegal, doubtful


def _scheme(begins: dict[str, list[_Row]]) -> str:
    if bool(begins["B"]) == bool(begins["I"]):
        return "IOB"
    return "IOB2" if begins["B"] else "IOB1"


def _mixed_begins(begins: dict[str, list[_Row]]) -> list[Problem]:
    """Where an entity begins otherwise than most do: perhaps its real beginning is missing."""
    few, many = sorted(begins, key=lambda prefix: len(begins[prefix]))
    return [
        Problem(row.line, f"{row.tag!r} begins an entity; most in this file begin with {many}-")
        for row in begins[few]
    ]


def write_conll(sentences: Iterable[Sentence], stream: TextIO) -> None:
    """Write two columns, word and IOB1 tag, with a blank line after each sentence."""
    for sentence in sentences:
        tags = iob1_from_spans(sentence.spans, len(sentence.words))
        for word, tag in zip(sentence.words, tags, strict=True):
            stream.write(f"{word} {tag}\n")
        stream.write("\n")
