"""Objects with a text and its entities, which have character offsets.

Formats: https://spacy.io/api/doc#to_json, https://prodi.gy/docs/api-interfaces,
https://urchade.github.io/GLiNER/usage.html, doccano's data_export/pipeline,
https://huggingface.co/docs/transformers/main_classes/pipelines (TokenClassificationPipeline),
Presidio's RecognizerResult.to_dict, and https://labelstud.io/guide/export (JSON_MIN).
"""

import re
from statistics import fmean
from typing import Any

from ner_edge.data.corpus import shortened
from ner_edge.data.documents import Document, Mark
from ner_edge.data.readers.contents import Contents
from ner_edge.data.readers.shape import Place, Shape

# First, in this order: ours, GLiNER's and doccano's with relations; Prodigy's; spaCy's; doccano's
# and Label Studio's; what people call the output of pipelines and analyzers.
_ENTITY_KEYS = ("entities", "spans", "ents", "label", "labels", "results", "predictions")
# Whose tool writes no list where nothing was marked: Prodigy, Label Studio.
_ANNOTATED = ("answer", "annotation_id")
_TEXT_KEYS = ("text", "data")  # the latter: doccano of 2021
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
    lists = [key for key in _ENTITY_KEYS if isinstance(value.get(key), list)]
    marked = [key for key in dict.fromkeys([*lists, *value]) if _are_marks(value[key])]
    filled = [key for key in lists[:1] if value[key]] or marked or lists
    if filled:
        others = dict.fromkeys(key for key in marked if key != filled[0])
        if others:
            also = f"has entities in {keys_of(others)} too; those in {keys_of({filled[0]: None})}"
            contents.doubtful.append(place.problem(f"{also} are read"))
        return document_from(text, value[filled[0]], place, contents, rejected)
    if any(key in value for key in _ANNOTATED):
        return Document(place.line, text, [], rejected)
    raise ValueError(
        f"has no list of entities ({', '.join(_ENTITY_KEYS)}); its keys are {keys_of(value)}"
    )


def _are_marks(items: Any) -> bool:
    """Are they entities, whatever key they stand under? (Label Studio lets its users choose one;
    tokens have offsets, but no label.)"""
    return isinstance(items, list) and any(
        "start" in item and any(key in item for key in (*_LABEL_KEYS, "labels"))
        if isinstance(item, dict)
        else isinstance(item, list) and list(map(type, item)) == [int, int, str]
        for item in items
    )


def keys_of(record: dict[str, Any]) -> str:
    """The keys of an object, for a message."""
    keys = [key if len(key) <= 40 and key.isprintable() else shortened(key) for key in record]
    return ", ".join(keys[:12]) + ", …" * (len(keys) > 12)


def document_from(
    text: str, items: list[Any], place: Place, contents: Contents, rejected: str = ""
) -> Document:
    """A text whose entities are objects `{"start", "end", "label"}` (a `score` is kept, a `text`
    must be what stands there) or lists `[start, end, label]`."""
    marks: list[Mark] = []
    tokens: list[Mark] = []
    for number, item in enumerate(items, 1):
        try:
            found = _marks_of(item, text)
        except ValueError as error:
            contents.illegal.append(place.problem(f"entity {number}: {error}"))
            continue
        is_token = isinstance(item, dict) and "entity" in item
        (tokens if is_token and _TOKEN_TAG.fullmatch(found[0].label) else marks).extend(found)
    return Document(place.line, text, marks + _joined(tokens, text), rejected)


def _marks_of(item: Any, text: str) -> list[Mark]:
    """One entity, once for each of its labels. Raises `ValueError`."""
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
    return [Mark(start, end, label, score) for label in _labels(item)]


def _labels(item: dict[str, Any]) -> list[str]:
    label = next((item[key] for key in _LABEL_KEYS if item.get(key) is not None), None)
    labels = item.get("labels") if label is None else [label]
    if not isinstance(labels, list) or not labels:
        raise ValueError("has no label")
    for name in labels:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError("has no label")
    return labels


def _joined(tokens: list[Mark], text: str) -> list[Mark]:
    """The entities of tagged tokens, as transformers' pipelines write them where they are not told
    to aggregate; a score is the mean of its tokens', as theirs is with `simple`."""
    entities: list[tuple[Mark, list[float]]] = []
    for token in tokens:
        match = _TOKEN_TAG.fullmatch(token.label)
        if match is None or match["label"] is None:
            continue  # O, said of tokens outside
        scores = [] if token.score is None else [token.score]
        if match["prefix"] == "I" and entities:
            last, earlier = entities[-1]
            if last.label == match["label"] and not text[last.end : token.start].strip():
                entities[-1] = last._replace(end=token.end), earlier + scores
                continue
        entities.append((token._replace(label=match["label"]), scores))
    return [mark._replace(score=fmean(s) if s else None) for mark, s in entities]


OFFSETS = Shape(
    "texts with character offsets",
    'an object with a "text" and its "entities"',
    lambda value: _text(value) is not None,
    _read,
)
