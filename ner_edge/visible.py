"""The visible part of a text: without invisible characters and excess combining marks."""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right

MAX_MARKS = 4
"""The most combining marks kept in a row; more make no visible difference."""

# Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_MARK = "\u0301"
_RUN = re.compile(f"[{_INVISIBLE}]+|{_MARK}[{_MARK}{_INVISIBLE}]*")
_is_invisible = re.compile(f"[{_INVISIBLE}]").match
_NON_JOINER, _JOINER = "\u200c\u200d"
# Arabic to Sinhala, Tibetan, Mongolian, and further scripts of India: their letters join.
_is_cursive = re.compile(
    "[\u0620-\u0dff\u0f00-\u0fff\u1800-\u18af\u1b00-\u1c4f\ua800-\ua8ff\uabc0-\uabff\ufb50-\ufdff"
    "\ufe70-\ufefc\U00010a00-\U00011fff]"
).match


def is_blank(character: str) -> bool:
    """Whether a character is white space or invisible; no entity begins or ends with such."""
    return character.isspace() or bool(_is_invisible(character))


class VisibleText:
    """`text` is the visible part of `original`; `start` and `end` map its offsets back.

    Joiners are kept where they join: in words of Arabic and Indic scripts, and in emoji.
    """

    def __init__(self, original: str) -> None:
        self._length = len(original)
        self._hidden = array("q")  # position in `original`, less the number of those before it
        self._surplus = array("q")  # positions of excess marks in `original`
        self.text = original if original.isascii() else self._visible(original)

    def start(self, position: int) -> int:
        """Return the original offset of the character at `position` of `text`."""
        return position + bisect_right(self._hidden, position)

    def end(self, position: int) -> int:
        """Return the original end of a span of `text` that ends at `position`, at least 1."""
        end = self.start(position - 1) + 1
        last = bisect_left(self._surplus, self.start(position))
        return max(end, self._surplus[last - 1] + 1) if last else end

    def _visible(self, original: str) -> str:
        marks = {
            ord(character): _MARK
            for character in set(original)
            if unicodedata.category(character) in ("Mn", "Me") and not _is_invisible(character)
        }
        pieces = []
        seen = 0
        for match in _RUN.finditer(original.translate(marks)):
            first, last = match.span()
            pieces.append(original[seen:first])
            pieces.append(self._visible_run(original, first, last, match.group()))
            seen = last
        return "".join([*pieces, original[seen:]])

    def _visible_run(self, original: str, first: int, last: int, shape: str) -> str:
        joins = _joins(original[first - 1 : first], original[last : last + 1])
        kept = []
        marks = 0
        for position, character in enumerate(shape, first):
            if character == _MARK:
                marks += 1
                keep = marks <= MAX_MARKS
                if not keep:
                    self._surplus.append(position)
            elif keep := character in joins:
                joins = ""
            if keep:
                kept.append(original[position])
            else:
                self._hidden.append(position - len(self._hidden))
        return "".join(kept)


def _joins(before: str, after: str) -> str:
    """Return the joiners that take effect between two characters, which are empty at the ends."""
    if not before or not after:
        return ""
    if _is_emoji(before) and _is_emoji(after):
        return _JOINER
    cursive = all(
        _is_cursive(character) and unicodedata.category(character)[0] in "LM"
        for character in (before, after)
    )
    return _JOINER + _NON_JOINER if cursive else ""


def _is_emoji(character: str) -> bool:
    skin = "\U0001f3fb" <= character <= "\U0001f3ff"
    return skin or character == "\u2194" or unicodedata.category(character) == "So"
