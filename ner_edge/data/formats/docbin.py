"""spaCy's DocBin (`.spacy`): words with their entities. Needs spaCy.

Format: https://spacy.io/api/docbin, and spaCy's `tokens/_serialize.py`. It is zlib-compressed
msgpack. spaCy itself would unpack further objects from it, so only plain numbers and strings are
read here.
"""

import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.contents import Contents, ReadOptions
from ner_edge.data.formats.format import Losses
from ner_edge.errors import DataError, missing_extra
from ner_edge.files.inputs import read_input
from ner_edge.segment import Word, segment
from ner_edge.spans import Span, iob2_from_spans

_LIMIT = 1_000_000_000
"""Bytes of a file, and of its content."""
_INSIDE, _OUTSIDE, _BEGIN = 1, 2, 3
"""Values of ENT_IOB; 0 means that it is not set."""
_NO_GROUPS = (b"", b"\x90")


class _Bin(msgspec.Struct):
    attrs: list[int]
    tokens: bytes
    spaces: bytes
    lengths: bytes
    strings: list[str]
    flags: list[dict[str, bool]] = []
    span_groups: list[bytes] = []


def read_docbin(path: Path, options: ReadOptions) -> Contents:
    """Read words, white space, sentences and `doc.ents`; no words and sentences if `texts_only`.

    Raises `DataError` for a damaged file, `UsageError` without spaCy.
    """
    contents = Contents("spaCy", texts_only=options.texts_only)
    try:
        packed = _unpacked(path)
        for number, document in enumerate(_documents(packed), 1):
            words = None if options.texts_only else document.sentences
            contents.records.append(document._replace(line=number, sentences=words))
    except (ValueError, KeyError, IndexError) as error:  # msgspec's and numpy's are ValueErrors
        raise DataError(f"{path}: not a DocBin of spaCy ({error})") from None
    contents.layout = "spaCy DocBin"
    if any(group not in _NO_GROUPS for group in packed.span_groups):
        contents.ignored.add("span groups")
    return contents


def _unpacked(path: Path) -> _Bin:
    data = read_input(path, _LIMIT)
    try:
        stream = zlib.decompressobj()
        content = stream.decompress(data, _LIMIT)
    except zlib.error as error:
        raise ValueError(error) from None
    if not stream.eof:
        raise ValueError("it is cut off, or larger than 1 GB")
    return msgspec.msgpack.decode(content, type=_Bin)


def _documents(packed: _Bin) -> Iterator[Document]:
    import numpy as np

    spacy = _spacy()
    attrs, strings = spacy.attrs, spacy.strings.StringStore(packed.strings)
    tokens = np.frombuffer(packed.tokens, np.uint64).reshape(-1, len(packed.attrs))
    column = {attr: tokens[:, place].tolist() for place, attr in enumerate(packed.attrs)}
    words = [strings[key] for key in column[attrs.ORTH]]
    tags = column.get(attrs.ENT_IOB, [0] * len(words))
    labels = column.get(attrs.ENT_TYPE, [0] * len(words))
    starts = column.get(attrs.SENT_START, [0] * len(words))
    spaces = np.frombuffer(packed.spaces, bool).tolist()
    lengths = np.frombuffer(packed.lengths, np.int32).tolist()
    if not len(words) == len(spaces) == sum(lengths) or min(lengths, default=0) < 0:
        raise ValueError("its lengths contradict each other")
    end = 0
    for number, length in enumerate(lengths):
        first, end = end, end + length
        flags = packed.flags[number] if number < len(packed.flags) else {}
        unknown = flags.get("has_unknown_spaces", False)
        found = _placed(words[first:end], [True] * length if unknown else spaces[first:end])
        named = [strings[label] for label in labels[first:end]]
        yield _document(found, tags[first:end], named, [key == 1 for key in starts[first:end]])


def _placed(words: list[str], spaces: list[bool]) -> tuple[str, list[Word]]:
    """Return the text of words, and their offsets."""
    placed, pieces = [], []
    start = 0
    for word, space in zip(words, spaces, strict=True):
        placed.append(Word(word, start, start + len(word)))
        pieces.append(word + " " * space)
        start += len(pieces[-1])
    return "".join(pieces), placed


def _document(
    found: tuple[str, list[Word]], tags: list[int], labels: list[str], starts: list[bool]
) -> Document:
    text, words = found
    spans: list[CharSpan] = []
    sentences: list[list[Word]] = [[]]
    inside = False
    for word, tag, label, starts_sentence in zip(words, tags, labels, starts, strict=True):
        if tag == _INSIDE and inside:
            spans[-1] = spans[-1]._replace(end=word.end)
        elif inside := tag in (_INSIDE, _BEGIN) and bool(label):
            spans.append(CharSpan(word.start, word.end, label))
        if starts_sentence and sentences[-1]:
            sentences.append([])
        sentences[-1] += _split(word)
    rejected = "has no entities set" if words and not any(tags) else ""
    return Document(1, text, spans, rejected, sentences=[words for words in sentences if words])


def _split(word: Word) -> Iterator[Word]:
    """Split a token at white space; one that is only white space is no word."""
    position = word.start
    for part in word.text.split():
        position += word.text[position - word.start :].index(part)
        yield Word(part, position, position + len(part))
        position += len(part)


def save_docbin(documents: Iterable[Document], path: Path, losses: Losses) -> None:
    """Write one `Doc` per text. Words are cut where an entity begins or ends inside one.

    Raises `UsageError` without spaCy.
    """
    spacy = _spacy()
    vocab = spacy.vocab.Vocab()
    packed = spacy.tokens.DocBin()
    for document in documents:
        packed.add(_doc(spacy, vocab, document, losses))
    path.write_bytes(packed.to_bytes())


def _doc(spacy: Any, vocab: Any, document: Document, losses: Losses) -> Any:
    spans = list(_without_outer_space(document, losses))
    sentences = document.sentences
    if sentences is None:
        sentences = list(segment(document.text))
    edges = {0, len(document.text)}
    edges.update(edge for words in sentences for word in words for edge in word[1:])
    edges.update(edge for span in spans for edge in (span.start, span.end))
    words: list[str] = []
    spaces: list[bool] = []
    starts: list[int] = []
    for start, end in pairwise(sorted(edges)):
        piece = document.text[start:end]
        if piece.startswith(" ") and words and not spaces[-1]:
            spaces[-1] = True
            start, piece = start + 1, piece[1:]
        if piece:
            words.append(piece)
            spaces.append(False)
            starts.append(start)
    found = [
        Span(bisect_left(starts, span.start), bisect_left(starts, span.end), span.label)
        for span in spans
    ]
    tags = iob2_from_spans(found, len(words))
    first = {words[0].start for words in sentences if words}
    is_first = [place == 0 or start in first for place, start in enumerate(starts)]
    return spacy.tokens.Doc(vocab, words=words, spaces=spaces, ents=tags, sent_starts=is_first)


def _without_outer_space(document: Document, losses: Losses) -> Iterator[CharSpan]:
    for span in document.spans:
        piece = document.text[span.start : span.end]
        start = span.start + len(piece) - len(piece.lstrip())
        end = span.end - len(piece) + len(piece.rstrip())
        if start >= end:
            losses.leave_out(document, span, "is only white space")
            continue
        losses.unkept["white space at the ends of entities"] += end - start < len(piece)
        yield span._replace(start=start, end=end)


def _spacy() -> Any:
    try:
        import spacy
        import spacy.attrs
        import spacy.strings
        import spacy.tokens
        import spacy.vocab
    except ImportError as error:
        raise missing_extra("spacy", error) from None
    return spacy
