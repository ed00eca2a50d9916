"""Find the other places where a name stands that was found somewhere, and addresses that hold it.

A model may find a name in one sentence and miss it in the next.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from ner_edge.redaction.tokens import name_of, normalized, tokens

ADDRESS = "ADDRESS"
"""The label of e-mail and web addresses that hold a found name."""
_ADDRESS = re.compile(
    r"(?<![^\s<>\"'(),;:\[\]])[^\s<>\"'(),;:\[\]@]{1,256}@[^\s<>\"'(),;:\[\]]{1,256}"
    r"|\b(?:https?://|www\.)[^\s<>\"']{1,2048}",
    re.IGNORECASE,
)
_END_OF_SENTENCE = ".,;:!?)]}…"
_SHORTEST_INSIDE = 4  # characters of a word that is found inside a word of an address


class Place(NamedTuple):
    """A span of characters to replace. Offsets count code points and are half-open."""

    start: int
    end: int
    label: str


class KnownNames:
    """The names that were found, by which further places of them are found."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str, ...], Counter[str]] = {}
        self._written_small: set[tuple[str, ...]] = set()
        self._lengths: dict[str, list[int]] = {}  # by first token, longest first
        self._words: set[str] = set()

    def add(self, text: str, label: str) -> None:
        """Note that `text` was found as an entity."""
        name = name_of(text)
        if not _is_searched(name):
            return
        self._labels.setdefault(name, Counter())[label] += 1
        lengths = self._lengths.setdefault(name[0], [])
        if len(name) not in lengths:
            lengths.append(len(name))
            lengths.sort(reverse=True)
        if text == text.lower():
            self._written_small.add(name)
        for token in tokens(text):
            word = text[token.start : token.end]
            if len(word) > 1 and word[0].isalpha() and not word[0].islower():
                self._words.add(token.text)

    def places(self, text: str) -> Iterator[Place]:
        """Yield the places of known names, the longest at each, in order and without overlaps.

        Case and white space make no difference, but a name with capitals is not looked for in
        lower case, where it may be an ordinary word (`Rose`, `rose`).
        """
        found = tokens(text)
        names = [token.text for token in found]
        position = 0
        while position < len(found):
            for length in self._lengths.get(names[position], ()):
                name = tuple(names[position : position + length])
                start, end = found[position].start, found[position : position + length][-1].end
                written_small = text[start:end] == text[start:end].lower()
                if name in self._labels and (not written_small or name in self._written_small):
                    yield Place(start, end, self._labels[name].most_common(1)[0][0])
                    position += length
                    break
            else:
                position += 1

    def addresses(self, text: str) -> Iterator[Place]:
        """Yield the e-mail and web addresses that hold a word of a known name."""
        if "@" not in text and "www." not in text.lower() and "://" not in text:
            return
        for match in _ADDRESS.finditer(text):
            address = match.group().rstrip(_END_OF_SENTENCE)
            if self.holds_name(address):
                yield Place(match.start(), match.start() + len(address), ADDRESS)

    def holds_name(self, address: str) -> bool:
        """Whether a capitalized word of a known name is in an address or the name of a file."""
        parts = {token.text for token in tokens(address)}
        whole = normalized(address)
        return not parts.isdisjoint(self._words) or any(
            len(word) >= _SHORTEST_INSIDE and word in whole for word in self._words
        )


def _is_searched(name: tuple[str, ...]) -> bool:
    """A single character, or a name without a letter, stands in too many other places."""
    return len("".join(name)) > 1 and any(map(str.isalpha, "".join(name)))
