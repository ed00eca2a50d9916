"""Replace the entities of texts by placeholders such as `[PER_1]`."""

import re
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from ner_edge.redaction.known_names import KnownNames, Place
from ner_edge.redaction.tokens import name_of
from ner_edge.segment import trimmed

# A label is one printable word of up to 100 characters without brackets or bars (`ner_edge.task`).
PLACEHOLDER = re.compile("\\[[^\\[\\]|\\s\ud800-\udfff]{1,100}_[1-9][0-9]{0,8}\\]")
"""What looks like a placeholder. No two overlap, since each has no brackets but at its ends."""
_INVALID = re.compile("[\ud800-\udfff]+")  # what is not text, such as invalid bytes of UTF-8


class Placed(NamedTuple):
    """A placeholder in a redacted text, and the text that it replaces."""

    placeholder: str
    text: str


class Numbering:
    """Gives each name of a label its number, in order of appearance.

    Placeholders that a text contains already, `taken`, are never given.
    """

    def __init__(self, taken: Container[str] = ()) -> None:
        self._taken = taken
        self._given: dict[tuple[str, tuple[str, ...]], str] = {}
        self._last: dict[str, int] = {}

    def placeholder(self, label: str, text: str) -> str:
        """Return the placeholder of an entity; equal for texts of the same name and label."""
        name = (label, name_of(text))
        if name not in self._given:
            self._given[name] = self._next(label)
        return self._given[name]

    def __len__(self) -> int:
        return len(self._given)

    def _next(self, label: str) -> str:
        while True:
            number = self._last[label] = self._last.get(label, 0) + 1
            if (placeholder := f"[{label}_{number}]") not in self._taken:
                return placeholder


def placeholders_in(text: str) -> list[str]:
    """Return what looks like a placeholder in a text, in order."""
    return PLACEHOLDER.findall(text) if "[" in text else []


def places(text: str, entities: Iterable[Place], names: KnownNames | None = None) -> list[Place]:
    """Return what to replace in a text, in order: entities, and places of known names.

    Of overlapping places, all characters are replaced, under the label of the longest. Surrogates,
    which stand for invalid bytes, are left where they are.
    """
    found = list(entities)
    if names is not None:
        found += [*names.places(text), *names.addresses(text)]
    return [part for place in _merged(found) for part in _valid_parts(text, place)]


def redact(text: str, replaced: Iterable[Place], numbering: Numbering) -> tuple[str, list[Placed]]:
    """Return the text with placeholders, and what each replaces, in order."""
    pieces = []
    placed = []
    position = 0
    for start, end, label in replaced:
        written = text[start:end]
        placed.append(Placed(numbering.placeholder(label, written), written))
        pieces += [text[position:start], placed[-1].placeholder]
        position = end
    return "".join([*pieces, text[position:]]), placed


def _merged(found: Iterable[Place]) -> Iterator[Place]:
    current: Place | None = None
    longest = 0
    for place in sorted(found, key=lambda place: (place.start, -place.end)):
        if current is None or place.start >= current.end:
            if current is not None:
                yield current
            current, longest = place, place.end - place.start
            continue
        label = current.label
        if place.end - place.start > longest:
            label, longest = place.label, place.end - place.start
        current = Place(current.start, max(current.end, place.end), label)
    if current is not None:
        yield current


def _valid_parts(text: str, place: Place) -> Iterator[Place]:
    position = place.start
    for match in [*_INVALID.finditer(text, place.start, place.end), None]:
        start, end = trimmed(text, position, match.start() if match else place.end)
        if start < end:
            yield Place(start, end, place.label)
        position = match.end() if match else position
