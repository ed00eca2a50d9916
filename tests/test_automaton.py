"""The copy automaton allows exactly the bracketed readings of a sentence, as GBNF too."""

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner_edge.brackets import parse_brackets, write_brackets
from ner_edge.runtime.automaton import START, CopyAutomaton, State
from ner_edge.runtime.grammar import gbnf
from ner_edge.spans import Span

LABELS = ["PER", "LOC"]


def readings(words: list[str]) -> set[str]:
    """All bracketed readings, by trying every set of spans."""
    tags = ["O"] + [f"{first}-{label}" for label in LABELS for first in "BI"]
    found = set()
    for choice in product(tags, repeat=len(words)):
        legal = all(
            tag[0] != "I" or (i and choice[i - 1] != "O" and choice[i - 1][2:] == tag[2:])
            for i, tag in enumerate(choice)
        )
        in_entity = [word for word, tag in zip(words, choice, strict=True) if tag != "O"]
        if legal and "|" not in in_entity:
            starts = [i for i, tag in enumerate(choice) if tag[0] == "B"]
            spans = []
            for start in starts:
                end = start + 1
                while end < len(words) and choice[end][0] == "I":
                    end += 1
                spans.append(Span(start, end, choice[start][2:]))
            found.add(write_brackets(words, spans) + "\n")
    return found


def automaton_language(words: list[str]) -> set[str]:
    automaton = CopyAutomaton(words, LABELS)

    def walk(state: State, text: str) -> set[str]:
        if state == automaton.end:
            return {text}
        ways = automaton.moves(state)
        return set().union(*(walk(m.target, text + "".join(m.chunks)) for m in ways))

    return walk(START, "")


def gbnf_language(words: list[str]) -> set[str]:
    rules = dict(line.split(" ::= ", 1) for line in gbnf(words, LABELS).splitlines())
    alternative = re.compile(r'"((?:[^"\\]|\\.)*)"(?: (\w+))?(?: \| |$)')

    def unescape(text: str) -> str:
        return re.sub(
            r"\\(x..|.)",
            lambda m: {"n": "\n"}.get(m[1]) or (chr(int(m[1][1:], 16)) if m[1][1:] else m[1]),
            text,
        )

    def walk(rule: str) -> set[str]:
        found = set()
        for literal, target in alternative.findall(rules[rule]):
            tails = walk(target) if target else {""}
            found |= {unescape(literal) + tail for tail in tails}
        return found

    return walk(rules["root"])


@pytest.mark.parametrize(
    "words",
    [
        ["Ada"],
        ["Ada", "in", "London"],
        ["[", "a", "]"],
        ["|", "x", "|"],
        ["[[a", "|", "PER]"],
        ['"', "\\", "\x01"],
        ["שלום", "😀"],
    ],
)
def test_automaton_and_gbnf_allow_exactly_the_bracketed_readings(words: list[str]) -> None:
    assert automaton_language(words) == readings(words)
    assert gbnf_language(words) == readings(words)


@given(st.lists(st.sampled_from(["a", "[", "]", "|", "[b", "c]", "PER]"]), min_size=1, max_size=4))
def test_every_reading_is_faithful(words: list[str]) -> None:
    for text in automaton_language(words):
        assert parse_brackets(text, words, LABELS).faithful
