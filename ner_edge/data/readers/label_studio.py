"""Read Label Studio's tasks with their annotations.

Format: https://labelstud.io/guide/task_format. (`offsets` reads its export JSON_MIN, `conll` its
CoNLL export.)
"""

from typing import Any

from ner_edge.data.documents import Document
from ner_edge.data.readers.contents import Contents
from ner_edge.data.readers.offsets import document_from, keys_of
from ner_edge.data.readers.record_format import Place, RecordFormat


def _annotations(task: Any) -> Any:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        return None
    return task.get("annotations", task.get("completions"))  # `completions` until 2021


def _read(task: Any, place: Place, contents: Contents) -> Document:
    annotations = [item for item in _annotations(task) if isinstance(item, dict)]
    done = [item for item in annotations if not item.get("was_cancelled")]
    done.sort(key=lambda item: not item.get("ground_truth"))
    text = _text(task["data"])
    if not done:
        reason = "was skipped by its annotator" if annotations else "has no annotation"
        return Document(place.line, text, [], reason)
    if len(done) > 1:
        message = f"has {len(done)} annotations; only one is read"
        contents.doubtful.append(place.problem(message))
    results = done[0].get("result")
    if not isinstance(results, list):
        raise ValueError('its annotation has no "result"')
    items = []
    for result in results:
        kind = result.get("type") if isinstance(result, dict) else None
        value = result.get("value") if isinstance(result, dict) else None
        # Skip relations, choices for the whole text, and the like.
        if isinstance(kind, str) and kind.endswith("labels") and isinstance(value, dict):
            items.append({**value, "labels": value.get(kind)})
    return document_from(text, items, place, contents)


def _text(data: dict[str, Any]) -> str:
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if "text" in texts:
        return texts["text"]
    if len(texts) != 1:
        raise ValueError(f'expected a "text" in its "data"; its keys are {keys_of(data)}')
    (text,) = texts.values()
    return text


LABEL_STUDIO = RecordFormat(
    "Label Studio tasks",
    'Label Studio\'s "data" and "annotations"',
    lambda value: isinstance(_annotations(value), list),
    _read,
)
