"""Label Studio's tasks, with their annotations or predictions.

Format: https://labelstud.io/guide/task_format and https://labelstud.io/guide/predictions.
(`offsets` reads its export JSON_MIN, `conll` its CoNLL export.)
"""

from collections.abc import Iterable, Iterator
from statistics import fmean
from typing import Any

from ner_edge.data.documents import CharSpan, Document
from ner_edge.data.formats.contents import Contents
from ner_edge.data.formats.format import Losses
from ner_edge.data.formats.json_text import json_list
from ner_edge.data.formats.offsets import document_from, entity_objects, keys_of, other_fields
from ner_edge.data.formats.record_format import Place, RecordFormat

# The names of the tags in the labelling interface that Label Studio offers for this task.
_FROM, _TO = "label", "text"


def _annotations(task: Any) -> Any:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        return None
    return task.get("annotations", task.get("completions", []))  # `completions` until 2021


def _predictions(task: dict[str, Any]) -> list[Any]:
    found = task.get("predictions")
    found = found if isinstance(found, list) else []
    return [item for item in found if isinstance(item, dict)]  # exports may hold only their ids


def _read(task: Any, place: Place, contents: Contents) -> Document:
    annotations = [item for item in _annotations(task) if isinstance(item, dict)]
    done = [item for item in annotations if not item.get("was_cancelled")]
    done.sort(key=lambda item: not item.get("ground_truth"))
    predictions = _predictions(task)
    key, text = _text(task["data"])
    fields = _fields(task, key, contents)
    if not done:
        reason = "was skipped by its annotator" if annotations else "has no annotation"
        if annotations or not predictions:
            return Document(place.line, text, [], reason, fields=fields)
        document = document_from(text, _items(predictions[-1]), place, contents, reason)
        return document._replace(predicted=True, fields=fields)
    if len(done) > 1:
        message = f"has {len(done)} annotations; only one is read"
        contents.doubtful.append(place.problem(message))
    if predictions:
        contents.ignored.add("predictions beside annotations")
    return document_from(text, _items(done[0]), place, contents)._replace(fields=fields)


def _items(annotation: dict[str, Any]) -> list[Any]:
    results = annotation.get("result")
    if not isinstance(results, list):
        raise ValueError('its annotation has no "result"')
    items = []
    for result in results:
        kind = result.get("type") if isinstance(result, dict) else None
        value = result.get("value") if isinstance(result, dict) else None
        # Skip relations, choices for the whole text, and the like.
        if isinstance(kind, str) and kind.endswith("labels") and isinstance(value, dict):
            score = value.get("score", result.get("score"))
            items.append({**value, "labels": value.get(kind), "score": score})
    return items


def _text(data: dict[str, Any]) -> tuple[str, str]:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if "text" in texts:
        return "text", texts["text"]
    if len(texts) != 1:
        raise ValueError(f'expected a "text" in its "data"; its keys are {keys_of(data)}')
    (found,) = texts.items()
    return found


def _fields(task: dict[str, Any], text_key: str, contents: Contents) -> dict[str, Any]:
    others = {key: value for key, value in task["data"].items() if key != text_key}
    contents.ignored |= {key for key, value in others.items() if isinstance(value, list | dict)}
    fields = {key: value for key, value in others.items() if not isinstance(value, list | dict)}
    return {"id": task["id"], **fields} if isinstance(task.get("id"), int) else fields


def write_label_studio(documents: Iterable[Document], losses: Losses) -> Iterator[str]:
    """Yield a list of tasks; entities that a model found are predictions, others annotations."""
    return json_list(_task(document) for document in documents)


def _task(document: Document) -> dict[str, Any]:
    fields = dict(other_fields(document, ["text"]))
    # A number by which Label Studio knows the task.
    head = {"id": fields.pop("id")} if isinstance(fields.get("id"), int) else {}
    regions = [
        _region(number, found, span)
        for number, (found, span) in enumerate(
            zip(entity_objects(document), document.spans, strict=True)
        )
    ]
    task = {**head, "data": {"text": document.text, **fields}}
    if document.rejected and not document.predicted:
        return task
    if not document.predicted:
        return task | {"annotations": [{"result": regions}]}
    scores = [span.score for span in document.spans if span.score is not None]
    # Label Studio sorts tasks by it.
    score = {"score": fmean(scores)} if scores else {}
    return task | {"predictions": [{"model_version": "ner-edge", **score, "result": regions}]}


def _region(number: int, found: dict[str, Any], span: CharSpan) -> dict[str, Any]:
    value = {"start": span.start, "end": span.end, "text": found["text"], "labels": [span.label]}
    score = {} if span.score is None else {"score": span.score}
    names = {"id": f"e{number}", "from_name": _FROM, "to_name": _TO, "type": "labels"}
    return {**names, "value": value, **score}


LABEL_STUDIO = RecordFormat(
    "Label Studio tasks",
    'Label Studio\'s "data" and "annotations"',
    lambda value: isinstance(_annotations(value), list),
    _read,
)
