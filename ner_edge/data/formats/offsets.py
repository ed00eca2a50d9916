"""Objects with a text and its entities, which have character offsets.

Formats: https://spacy.io/api/doc#to_json, https://prodi.gy/docs/api-interfaces,
https://urchade.github.io/GLiNER/usage.html, doccano's data_export/pipeline,
https://huggingface.co/docs/transformers/main_classes/pipelines (TokenClassificationPipeline),
Presidio's RecognizerResult.to_dict, and https://labelstud.io/guide/export (JSON_MIN).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean
from typing import Any

from ner_edge.data.corpus import shortened
from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.contents import Contents
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.json_text import json_line
from ner_edge.data.formats.record_format import Place, RecordFormat

# The first of these counts: ours, GLiNER's and doccano's with relations; Prodigy's; spaCy's;
# doccano's and Label Studio's; usual names for the output of pipelines and analyzers.
ENTITY_KEYS = ("entities", "spans", "ents", "label", "labels", "results", "predictions")
# Keys of Prodigy and Label Studio, which write no list if a text has no entity.
_ANNOTATED = ("answer", "annotation_id")
_TEXT_KEYS = ("text", "data")  # `data`: doccano in 2021
_LABEL_KEYS = ("label", "entity_group", "entity_type", "entity")  # ours, transformers, Presidio
_TOKEN_TAG = re.compile(r"(?P<prefix>[BI])-(?P<label>.+)|O")


def _text(value: Any) -> str | None:
    texts = (value.get(key) for key in _TEXT_KEYS) if isinstance(value, dict) else ()
    return next((text for text in texts if isinstance(text, str)), None)


def _read(value: Any, place: Place, contents: Contents) -> Document:
    text = _text(value)
    assert text is not None
    answer = value.get("answer", "accept")
    rejected = "" if answer == "accept" else f"was answered {shortened(str(answer))}"
    lists = [key for key in ENTITY_KEYS if isinstance(value.get(key), list)]
    marked = [key for key in dict.fromkeys([*lists, *value]) if _are_entities(value[key])]
    filled = [key for key in lists[:1] if value[key]] or marked or lists
    if filled:
        others = dict.fromkeys(key for key in marked if key != filled[0])
        if others:
            also = f"has entities in {keys_of(others)} too; those in {keys_of({filled[0]: None})}"
            contents.doubtful.append(place.problem(f"{also} are read"))
        document = document_from(text, value[filled[0]], place, contents, rejected)
        return document._replace(fields=_fields(value, {*_TEXT_KEYS, *filled, "answer"}, contents))
    if any(key in value for key in _ANNOTATED):
        return Document(place.line, text, [], rejected)
    if contents.texts_only:
        fields = _fields(value, set(_TEXT_KEYS), contents)
        return Document(place.line, text, [], "has no entities", fields=fields)
    raise ValueError(
        f"has no list of entities ({', '.join(ENTITY_KEYS)}); its keys are {keys_of(value)}"
    )


def _are_entities(items: Any) -> bool:
    # Label Studio lets its users choose the key. Tokens have offsets too, but no label.
    return isinstance(items, list) and any(
        "start" in item and any(key in item for key in (*_LABEL_KEYS, "labels"))
        if isinstance(item, dict)
        else isinstance(item, list) and list(map(type, item)) == [int, int, str]
        for item in items
    )


def keys_of(record: dict[str, Any]) -> str:
    """List the keys of an object, for a message."""
    keys = [key if len(key) <= 40 and key.isprintable() else shortened(key) for key in record]
    return ", ".join(keys[:12]) + ", …" * (len(keys) > 12)


def _fields(record: dict[str, Any], read: set[str], contents: Contents) -> dict[str, Any]:
    """Return the single values of a record that are not read otherwise."""
    others = {key: value for key, value in record.items() if key not in read}
    contents.ignored |= {key for key, value in others.items() if isinstance(value, list | dict)}
    return {key: value for key, value in others.items() if not isinstance(value, list | dict)}


def document_from(
    text: str, items: list[Any], place: Place, contents: Contents, rejected: str = ""
) -> Document:
    """Return a text with its entities, which are objects or lists `[start, end, label]`.

    Objects have `start`, `end` and `label`. A `score` is kept; a `text` must match the offsets.
    """
    spans: list[CharSpan] = []
    tokens: list[CharSpan] = []
    for number, item in enumerate(items, 1):
        try:
            found = _char_spans(item, text)
        except ValueError as error:
            contents.illegal.append(place.problem(f"entity {number}: {error}"))
            continue
        is_token = isinstance(item, dict) and "entity" in item
        (tokens if is_token and _TOKEN_TAG.fullmatch(found[0].label) else spans).extend(found)
    return Document(place.line, text, spans + _joined(tokens, text), rejected)


def _char_spans(item: Any, text: str) -> list[CharSpan]:
    """Read an entity: a span for each of its labels. Raises `ValueError`."""
    if isinstance(item, list) and len(item) == 3:
        item = dict(zip(("start", "end", "label"), item, strict=True))
    if not isinstance(item, dict):
        raise ValueError("expected an object or [start, end, label]")
    start, end = (item.get(key, item.get(f"{key}_offset")) for key in ("start", "end"))
    score = item.get("score")
    if type(start) is not int or type(end) is not int:
        raise ValueError("start and end must be whole numbers")
    if not 0 <= start < end <= len(text):
        piece = shortened(f"{start} to {end}").strip("'")
        raise ValueError(f"{piece} lies outside the text, which has {len(text)} characters")
    if isinstance(item.get("text"), str) and item["text"] != text[start:end]:
        raise ValueError(
            f"its text is {shortened(item['text'])}, but {start} to {end} is "
            f"{shortened(text[start:end])}; offsets count code points"
        )
    if score is not None and (type(score) not in (int, float) or not 0 <= score <= 1):
        raise ValueError(f"its score {shortened(str(score))} is not between 0 and 1")
    return [CharSpan(start, end, label, score) for label in _labels(item)]


def _labels(item: dict[str, Any]) -> list[str]:
    label = next((item[key] for key in _LABEL_KEYS if item.get(key) is not None), None)
    labels = item.get("labels") if label is None else [label]
    if not isinstance(labels, list) or not labels:
        raise ValueError("has no label")
    for name in labels:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError("has no label")
    return labels


def _joined(tokens: list[CharSpan], text: str) -> list[CharSpan]:
    """Join tagged tokens, as transformers' pipelines return them without aggregation, to entities.

    A score is the mean over the tokens, as with the pipelines' aggregation strategy `simple`.
    """
    entities: list[tuple[CharSpan, list[float]]] = []
    for token in tokens:
        match = _TOKEN_TAG.fullmatch(token.label)
        if match is None or match["label"] is None:
            continue  # O
        scores = [] if token.score is None else [token.score]
        if match["prefix"] == "I" and entities:
            last, earlier = entities[-1]
            if last.label == match["label"] and not text[last.end : token.start].strip():
                entities[-1] = last._replace(end=token.end), earlier + scores
                continue
        entities.append((token._replace(label=match["label"]), scores))
    return [span._replace(score=fmean(s) if s else None) for span, s in entities]


OFFSETS = RecordFormat(
    "texts with character offsets",
    'an object with a "text" and its "entities"',
    lambda value: _text(value) is not None,
    _read,
)


def entity_objects(document: Document) -> list[dict[str, Any]]:
    """Return entities as objects: `start` and `end` (code points, half-open), `text`, `label`, and
    `score` if they have one."""
    objects = []
    for start, end, label, score in document.spans:
        found = {"start": start, "end": end, "text": document.text[start:end], "label": label}
        objects.append(found if score is None else found | {"score": score})
    return objects


def other_fields(document: Document, taken: Iterable[str]) -> Mapping[str, Any]:
    """Return the further fields of a text, without those whose names a format itself uses."""
    return {key: value for key, value in document.fields.items() if key not in set(taken)}


def write_jsonl(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield one object per text: `text` and `entities`, after its other fields."""
    for document in documents:
        record = {"text": document.text, "entities": entity_objects(document)}
        fields = other_fields(document, (*_TEXT_KEYS, *ENTITY_KEYS))
        yield json_line({**fields, **record})
