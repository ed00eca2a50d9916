"""Names are compared token by token, whatever their case, white space and invisible characters."""

import re
import unicodedata
from typing import NamedTuple

from ner_edge.segment import shape_of
from ner_edge.visible import VisibleText

# On the shape of a text: a sign is a character of a script without spaces, U+0301 is any mark.
_TOKEN = re.compile("\u3013\u0301*|(?:[^\\W_]\u0301*)+|\\S")


class Token(NamedTuple):
    """A run of letters and digits, a punctuation mark, or a character of a script without spaces.

    Offsets count code points and are half-open.
    """

    text: str
    """Normalized: NFKC, case folded."""
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of a text in order. Smaller than its words: `a-b` has three."""
    visible = VisibleText(text)
    return [
        Token(
            normalized(visible.text[match.start() : match.end()]),
            visible.start(match.start()),
            visible.end(match.end()),
        )
        for match in _TOKEN.finditer(shape_of(visible.text))
    ]


def normalized(text: str) -> str:
    """Return `text` in the form in which names are compared."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def name_of(text: str) -> tuple[str, ...]:
    """Return the normalized name: `ADA  Lovelace` and `Ada Lovelace` have the same."""
    return tuple(token.text for token in tokens(text))
