"""Predictions for a Label Studio project, as a file that its Import accepts."""

import json

from ner_edge import Tagger

tasks = [{"data": {"text": "Ada Lovelace lives in London."}}]
with Tagger.load() as tagger:
    for task in tasks:
        result = [
            {
                "from_name": "label",  # the names in the project's labelling configuration
                "to_name": "text",
                "type": "labels",
                "score": round(entity.score, 2),
                "value": {"start": entity.start, "end": entity.end, "labels": [entity.label]},
            }
            for entity in tagger(task["data"]["text"])
        ]
        task["predictions"] = [{"model_version": "conll2003-135m", "result": result}]
print(json.dumps([task["predictions"][0]["result"][0]["value"] for task in tasks]))
