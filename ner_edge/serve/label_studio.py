"""What Label Studio asks a machine-learning backend: predictions for the tasks of a project.

Protocol: https://labelstud.io/guide/ml_create; results:
https://labelstud.io/guide/predictions. Label Studio's regions have one score each; that of a
prediction is the least of them, so that a project can be sorted by doubt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ner_edge.runtime.tagger import Entity
from ner_edge.serve.messages import LabelStudioTask
from ner_edge.serve.refusal import Refusal
from ner_edge.task import Task

_LIMIT = 200_000  # characters


@dataclass(frozen=True)
class LabelControl:
    """The `<Labels>` of a project, and the `<Text>` that they mark."""

    name: str
    text_name: str
    text_key: str
    """The key of the text in a task's data."""
    label_of: dict[str, str]
    """The project's label by the model's; other labels of the model are not predicted."""

    def text_of(self, task: LabelStudioTask) -> str:
        """Return the text of a task. Raises `Refusal` if there is none."""
        text = task.data.get(self.text_key)
        if not isinstance(text, str):
            raise Refusal(400, f"a task's data has no text under '{self.text_key}'")
        return text

    def prediction(self, entities: Iterable[Entity], version: str) -> dict[str, Any]:
        """Return the prediction of a task."""
        known = [entity for entity in entities if entity.label in self.label_of]
        regions = [
            {
                "from_name": self.name,
                "to_name": self.text_name,
                "type": "labels",
                "value": {
                    "start": entity.start,
                    "end": entity.end,
                    "text": entity.text,
                    "labels": [self.label_of[entity.label]],
                },
                "score": round(entity.score, 6),
            }
            for entity in known
        ]
        least = min((round(entity.score, 6) for entity in known), default=None)
        return {"result": regions, "score": least, "model_version": version}


def read_config(config: str, task: Task) -> LabelControl:
    """Read a project's labelling configuration for a model with this task.

    A label of the project stands for the model's of the same name, case ignored, or for one that
    its attribute `predicted_values` lists, or whose description it is. Raises `Refusal` if the
    configuration has no labels for a text, or none that the model knows.
    """
    root = _parse(config)
    texts = {element.get("name"): element for element in root.iter("Text")}
    for control in root.iter("Labels"):
        text = texts.get(control.get("toName"))
        if text is None:
            continue
        if text.get("valueType", "text") != "text":
            raise Refusal(400, 'the project\'s <Text> must have the valueType "text"')
        label_of = _match(control.iter("Label"), task)
        if not label_of:
            known = ", ".join(task.labels)
            raise Refusal(400, f"no <Label> of the project is one of the model's: {known}")
        key = text.get("value", "").removeprefix("$")
        return LabelControl(control.get("name", ""), text.get("name", ""), key, label_of)
    raise Refusal(400, "the project has no <Labels> for a <Text>")


def _parse(config: str) -> ElementTree.Element:
    # Entities, the one danger of XML that names no files, need a DOCTYPE.
    if len(config) > _LIMIT or "<!DOCTYPE" in config:
        raise Refusal(400, "the project's configuration is too long or has a DOCTYPE")
    try:
        return ElementTree.fromstring(config)
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: lone surrogates
        raise Refusal(400, f"the project's configuration is not XML ({error})") from None


def _match(elements: Iterable[ElementTree.Element], task: Task) -> dict[str, str]:
    found: dict[str, str] = {}
    values = [
        (element.get("value", ""), element.get("predicted_values", "")) for element in elements
    ]
    for label, description in task.labels.items():
        names = {label.casefold(), description.casefold()}
        for value, predicted in values:
            also = [name.strip() for name in predicted.split(",")]
            if label in also or value.casefold() in names:
                found.setdefault(label, value)
    return found
