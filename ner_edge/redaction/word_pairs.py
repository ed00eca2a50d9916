"""Recognize an edited text by its pairs of neighbouring words, without keeping the text."""

import hashlib
import re
import struct
from itertools import pairwise

from ner_edge.redaction.redact import PLACEHOLDER

_WORD = re.compile(r"\w+|\0")
_SIZE = 4  # bytes of a hash


def word_pairs(text: str) -> bytes:
    """Return a hash of 4 bytes for each pair of words, sorted; all placeholders are one word."""
    words = _WORD.findall(PLACEHOLDER.sub("\0", text))
    pairs = {f"{first} {second}" for first, second in pairwise(words)}
    return b"".join(sorted(map(_hash, pairs)))


def share_known(pairs: bytes, known: bytes) -> float:
    """Return which part of the `pairs` of a text, 0 to 1, are pairs of another; 0 if it has none.

    It is high for a text that was edited and for an excerpt.
    """
    own = _hashes(pairs)
    return len(own & _hashes(known)) / len(own) if own else 0.0


def _hash(pair: str) -> bytes:
    return hashlib.blake2b(pair.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()


def _hashes(data: bytes) -> set[tuple[int, ...]]:
    return set(struct.iter_unpack("<I", data[: len(data) // _SIZE * _SIZE]))
