"""JSON lines: one text per line, its entities with character offsets."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ner_edge.corpus import Labelled, Located, Problem, Sentence, shortened
from ner_edge.segment import segment, trimmed
from ner_edge.spans import Span

# In this order: ours, GLiNER's and doccano's with relations; Prodigy's; spaCy's; doccano's.
_ENTITY_KEYS = ("entities", "spans", "ents", "label", "labels")


class Mark(NamedTuple):
    """Characters `start` to `end` (code points, half-open) carry `label`; `score` is 0 to 1."""

    start: int
    end: int
    label: str
    score: float | None = None


class Document(NamedTuple):
    """A text and its entities, in the order of the file; `line` counts from 1."""

    line: int
    text: str
    marks: list[Mark]
    answer: str = "accept"
    """What an annotator said to it in Prodigy: else `reject` or `ignore`."""


def read_documents(lines: Sequence[bytes]) -> tuple[list[Document], list[Problem]]:
    """Objects with `text` and a list of entities, each `{"start", "end", "label"}` (a `score` is
    kept, a `text` must be what stands there) or `[start, end, label]`; and what is wrong.

    Formats: https://spacy.io/api/doc#to_json, https://prodi.gy/docs/api-interfaces,
    https://urchade.github.io/GLiNER/usage.html, and doccano's data_export/pipeline.
    """
    documents, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode())
            text, items = _text_and_items(record)
        except UnicodeDecodeError as error:
            problems.append(Problem(number, f"not UTF-8 text ({error.reason})"))
            continue
        except RecursionError:
            problems.append(Problem(number, "not JSON that can be read (nested too deeply)"))
            continue
        except json.JSONDecodeError as error:
            problems.append(Problem(number, f"not one JSON object per line ({error.msg})"))
            continue
        except ValueError as error:
            problems.append(Problem(number, str(error)))
            continue
        marks = []
        for place, item in enumerate(items, 1):
            try:
                marks.append(_mark(item, text))
            except ValueError as error:
                problems.append(Problem(number, f"entity {place}: {error}"))
        documents.append(Document(number, text, marks, record.get("answer", "accept")))
    return documents, problems


def _text_and_items(record: Any) -> tuple[str, list[Any]]:
    if isinstance(record, list):
        raise ValueError(
            'expected an object with a "text", found a list: `jq -c .[]` takes it apart'
        )
    # A doccano of 2021 called it data.
    text = record.get("text", record.get("data")) if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise ValueError('expected an object with a "text"')
    for key in _ENTITY_KEYS:
        if isinstance(record.get(key), list):
            return text, record[key]
    if "answer" in record:
        return text, []  # Prodigy writes no spans where none was marked
    raise ValueError(f"has no list of entities ({', '.join(_ENTITY_KEYS)})")


def _mark(item: Any, text: str) -> Mark:
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    if not isinstance(item, dict):
        raise ValueError("expected an object or [start, end, label]")
    start, end = (item.get(key, item.get(f"{key}_offset")) for key in ("start", "end"))
    label = item.get("label", item.get("entity_group"))  # the latter: transformers' pipelines
    score = item.get("score")
    if type(start) is not int or type(end) is not int:
        raise ValueError("start and end must be whole numbers")
    if not isinstance(label, str) or not label.strip() or not label.isprintable():
        raise ValueError("has no label")
    if not 0 <= start < end <= len(text):
        raise ValueError(f"{start} to {end} is no piece of a text of {len(text)} characters")
    if isinstance(item.get("text"), str) and item["text"] != text[start:end]:
        raise ValueError(
            f"its text is {shortened(item['text'])}, but {start} to {end} is "
            f"{shortened(text[start:end])}; offsets count code points"
        )
    if score is not None and (type(score) not in (int, float) or not 0 <= score <= 1):
        raise ValueError(f"its score {shortened(str(score))} is not between 0 and 1")
    return Mark(start, end, label, score)


def scan_jsonl(path: Path, lines: Sequence[bytes]) -> Labelled:
    """Read documents, and split them into sentences and words as `tag` does.

    A sentence with an entity that does not begin and end with a word is not usable, nor is what an
    annotator rejected or ignored. Of entities that overlap, the longest is kept.
    """
    documents, illegal = read_documents(lines)
    located: list[Located] = []
    left_out: list[Problem] = []
    for document in documents:
        sentences, dropped = _sentences(document)
        located += sentences
        left_out += dropped
    return Labelled(path, "JSONL", located, illegal, [], left_out)


def _sentences(document: Document) -> tuple[list[Located], list[Problem]]:
    text, line = document.text, document.line
    sentences = list(segment(text))
    words = [word for sentence in sentences for word in sentence]
    places = [(i, j) for i, sentence in enumerate(sentences) for j in range(len(sentence))]
    if document.answer != "accept":
        located = [
            Located(Sentence([word.text for word in sentence]), line, False)
            for sentence in sentences
        ]
        said = f"answered {shortened(str(document.answer))}"
        marked = [f"{_short(text, mark)} was {said}" for mark in document.marks] or [said]
        return located, [Problem(line, message) for message in marked]
    starts = {word.start: place for word, place in zip(words, places, strict=True)}
    ends = {word.end: place for word, place in zip(words, places, strict=True)}
    spans: list[list[Span]] = [[] for _ in sentences]
    unusable: set[int] = set()
    kept, dropped = without_overlaps(document.marks, lambda mark: mark.start - mark.end)
    left_out = [Problem(line, f"{_short(text, mark)} overlaps another entity") for mark in dropped]
    for mark in kept:
        start, end = trimmed(text, mark.start, mark.end)
        first, last = starts.get(start), ends.get(end)
        if first is not None and last is not None and first[0] == last[0]:
            spans[first[0]].append(Span(first[1], last[1] + 1, mark.label))
            continue
        touched = slice(
            bisect_right(words, start, key=lambda word: word.end),
            bisect_left(words, end, key=lambda word: word.start),
        )
        unusable.update(i for i, _ in places[touched])
        crosses = first is not None and last is not None
        reason = "runs into the next sentence" if crosses else "does not begin and end with a word"
        left_out.append(Problem(line, f"{_short(text, mark)} {reason}"))
    located = [
        Located(Sentence([word.text for word in sentence], sorted(found)), line, i not in unusable)
        for i, (sentence, found) in enumerate(zip(sentences, spans, strict=True))
    ]
    return located, left_out


def without_overlaps(
    marks: Iterable[Mark], rank: Callable[[Mark], Any]
) -> tuple[list[Mark], list[Mark]]:
    """The marks that stand when those of the lowest `rank` come first and none may overlap, and
    the others; repetitions do not count. Both in the order of the text."""
    kept: list[Mark] = []
    dropped = []
    for mark in sorted(dict.fromkeys(marks), key=rank):
        place = bisect_left(kept, mark.start, key=lambda other: other.start)
        before, after = kept[max(0, place - 1) : place], kept[place : place + 1]
        if any(other.end > mark.start for other in before) or any(
            other.start < mark.end for other in after
        ):
            dropped.append(mark)
        else:
            kept.insert(place, mark)
    return kept, sorted(dropped, key=lambda mark: mark.start)


def _short(text: str, mark: Mark) -> str:
    return shortened(text[mark.start : mark.end])
