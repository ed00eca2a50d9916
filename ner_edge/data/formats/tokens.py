"""Objects with a list of words, and a tag for each word or entities that count words.

Formats: https://huggingface.co/docs/datasets (`tokens` and `ner_tags` as names), and
https://urchade.github.io/GLiNER/training.html (`tokenized_text` and `ner`, both ends included).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ner_edge.data.corpus import shortened
from ner_edge.data.documents import OVERLAPS, CharSpan, Document, outermost
from ner_edge.data.formats.contents import Contents, Record
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.json_text import json_line, json_list
from ner_edge.data.formats.record_format import Place, RecordFormat
from ner_edge.data.formats.words import sentences_to_write
from ner_edge.data.tagged import Row
from ner_edge.spans import Span, iob2_from_spans
from ner_edge.terminal.counts import counted

_WORD_KEYS = ("tokens", "words", "tokenized_text")
_TAG_KEYS = ("ner_tags", "ner", "tags", "labels")


def _word_key(value: Any) -> str | None:
    for key in _WORD_KEYS if isinstance(value, dict) else ():
        words = value.get(key)
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return key
    return None


def _tag_key(value: dict[str, Any]) -> str | None:
    for key in _TAG_KEYS:
        tags = value.get(key)
        # Entities count words only under "ner", and characters elsewhere.
        if isinstance(tags, list) and (
            key == "ner" or all(isinstance(tag, str | int) for tag in tags)
        ):
            return key
    return None


def _fits(value: Any) -> bool:
    key = _word_key(value)
    # Beside a text, an empty list of words was never filled.
    return key is not None and bool(value[key] or not value.get("text")) and bool(_tag_key(value))


def _read(value: Any, place: Place, contents: Contents) -> Record:
    word_key, tag_key = _word_key(value), _tag_key(value)
    assert word_key is not None
    assert tag_key is not None
    contents.ignored |= value.keys() - {word_key, tag_key}
    words, tags = value[word_key], value[tag_key]
    if not words and not tags:
        return Document(place.line, "", [])
    if tag_key == "ner" and not all(isinstance(tag, str | int) for tag in tags):
        tags = _tags(words, tags, place, contents)
    elif not tags and tag_key == "ner":
        tags = ["O"] * len(words)
    if len(tags) != len(words):
        found = f"{counted(len(words), 'word')} in {word_key}"
        raise ValueError(f"has {found}, but {counted(len(tags), 'tag')} in {tag_key}")
    if not all(isinstance(tag, str) for tag in tags):
        raise ValueError(
            f"its {tag_key} are numbers, named only in the data set's features: "
            'write names such as "B-PER"'
        )
    return [Row(place.line, word, tag) for word, tag in zip(words, tags, strict=True)]


def _tags(words: list[str], items: list[Any], place: Place, contents: Contents) -> list[str]:
    """Return IOB2 tags for entities `[first word, last word, label]`."""
    spans = []
    for number, item in enumerate(items, 1):
        try:
            spans.append(_word_span(item, len(words)))
        except ValueError as error:
            contents.illegal.append(place.problem(f"entity {number}: {error}"))
    kept, dropped = outermost(spans)
    for span in dropped:
        entity = shortened(" ".join(words[span.start : span.end]))
        contents.left_out.append(place.problem(f"{entity} {OVERLAPS}"))
    return iob2_from_spans([Span(start, end, label) for start, end, label, _ in kept], len(words))


def _word_span(item: Any, length: int) -> CharSpan:
    if not isinstance(item, list) or len(item) != 3:
        raise ValueError("expected [first word, last word, label]")
    first, last, label = item
    if type(first) is not int or type(last) is not int:
        raise ValueError("its first and last word must be whole numbers, from 0")
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        raise ValueError("has no label")
    if not 0 <= first <= last < length:
        piece = shortened(f"{first} to {last}").strip("'")
        raise ValueError(f"{piece} is out of range of {counted(length, 'word')}, counted from 0")
    return CharSpan(first, last + 1, label)


def write_huggingface(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield an object per sentence: its `tokens`, and `ner_tags` (IOB2, by name)."""
    for document in documents:
        for sentence in sentences_to_write(document, losses):
            tags = iob2_from_spans(sentence.spans, len(sentence.words))
            yield json_line({"tokens": sentence.words, "ner_tags": tags})


def write_gliner(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield a list of objects, one per sentence: `tokenized_text`, and the entities `ner`."""
    return json_list(
        {
            "tokenized_text": sentence.words,
            "ner": [[start, end - 1, label] for start, end, label in sentence.spans],
        }
        for document in documents
        for sentence in sentences_to_write(document, losses)
    )


TOKENS = RecordFormat("token lists", '"tokens" and "ner_tags"', _fits, _read)
