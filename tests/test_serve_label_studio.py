"""Requests recorded from Label Studio 1.23.2, and projects of other shapes."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import SlowTagger, app_of, ask, stub_tagger

from ner_edge.runtime.tagger import Entity
from ner_edge.serve.label_studio import read_config
from ner_edge.serve.refusal import Refusal
from ner_edge.task import Task

RECORDED = json.loads((Path(__file__).parent / "label_studio_requests.json").read_text("utf-8"))
TASK = Task("news", {"PER": "person", "ORG": "organization"}, "Find them.")
CONFIG = """\
<View>
  <Labels name="label" toName="text">{labels}</Labels>
  <Text name="text" value="$text"/>
</View>"""


def config(*labels):
    return CONFIG.format(labels="".join(f"<Label value='{label}'/>" for label in labels))


def test_recorded_requests_are_answered():
    tagger = stub_tagger()
    app = app_of(tagger)
    answers = {
        request["path"]: ask(app, request["method"], request["path"], json=request["body"])
        for request in RECORDED
    }
    assert answers["/health"].json()["status"] == "UP"
    assert answers["/setup"].json() == {"model_version": "stub"}
    predicted = answers["/predict"].json()
    assert predicted["model_version"] == "stub"
    tasks = RECORDED[2]["body"]["tasks"]
    for task, prediction in zip(tasks, predicted["results"], strict=True):
        text = task["data"]["text"]
        found = tagger(text)
        assert prediction["model_version"] == "stub"
        assert [region["value"] for region in prediction["result"]] == [
            {"start": e.start, "end": e.end, "text": e.text, "labels": [e.label]} for e in found
        ]
        for region, entity in zip(prediction["result"], found, strict=True):
            assert (region["from_name"], region["to_name"]) == ("label", "text")
            assert region["type"] == "labels"
            assert region["score"] == round(entity.score, 6)
            value = region["value"]
            assert text[value["start"] : value["end"]] == value["text"]
        scores = [region["score"] for region in prediction["result"]]
        assert prediction["score"] == min(scores, default=None)
    assert any(prediction["result"] for prediction in predicted["results"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("<Label value='PER'/><Label value='ORG'/>", {"PER": "PER", "ORG": "ORG"}),
        ("<Label value='per'/>", {"PER": "per"}),
        ("<Label value='Person'/><Label value='Place'/>", {"PER": "Person"}),
        ("<Label value='Human' predicted_values='PER, X'/>", {"PER": "Human"}),
        ("<Label value='Name' predicted_values='PER,ORG'/>", {"PER": "Name", "ORG": "Name"}),
    ],
)
def test_labels_of_a_project_stand_for_those_of_the_model(labels, expected):
    control = read_config(CONFIG.format(labels=labels), TASK)
    assert control.label_of == expected


def test_names_and_keys_are_those_of_the_project():
    control = read_config(
        "<View><Header value='News'/><Text name='letter' value='$body'/>"
        "<Choices name='c' toName='letter'><Choice value='x'/></Choices>"
        "<View><Labels name='who' toName='letter'><Label value='PER'/></Labels></View></View>",
        TASK,
    )
    assert (control.name, control.text_name, control.text_key) == ("who", "letter", "body")


def test_labels_that_the_project_lacks_are_left_out():
    control = read_config(config("PER"), TASK)
    entities = [Entity(0, 3, "Ada", "PER", 0.9), Entity(4, 7, "BBC", "ORG", 0.5)]
    prediction = control.prediction(entities, "v")
    assert [region["value"]["text"] for region in prediction["result"]] == ["Ada"]
    assert prediction["score"] == 0.9
    assert control.prediction([], "v") == {"result": [], "score": None, "model_version": "v"}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("", "the project's configuration is not XML"),
        ("<View>", "the project's configuration is not XML"),
        ("\ud83c", "the project's configuration is not XML"),
        ("<View/>", "the project has no <Labels> for a <Text>"),
        ("<View><Text name='t' value='$t'/></View>", "the project has no <Labels> for a <Text>"),
        (
            "<View><Labels name='l' toName='i'><Label value='PER'/></Labels>"
            "<Image name='i' value='$i'/></View>",
            "the project has no <Labels> for a <Text>",
        ),
        (config("Car"), "no <Label> of the project is one of the model's: PER, ORG"),
        (
            config("PER").replace('value="$text"', 'value="$url" valueType="url"'),
            'the project\'s <Text> must have the valueType "text"',
        ),
        (
            "<!DOCTYPE v [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><View>&b;</View>",
            "the project's configuration is too long or has a DOCTYPE",
        ),
        (
            "<!DOCTYPE v [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><View>&a;</View>",
            "the project's configuration is too long or has a DOCTYPE",
        ),
        ("<a>" * 100_000, "the project's configuration is too long or has a DOCTYPE"),
        ("<a>" * 60_000 + "</a>" * 0, "the project's configuration is not XML"),
    ],
)
def test_a_project_that_cannot_be_served_is_told_why(schema, message):
    with pytest.raises(Refusal) as caught:
        read_config(schema, TASK)
    assert caught.value.status == 400
    assert str(caught.value).startswith(message)


def test_a_deep_configuration_is_read():
    deep = "<a>" * 20_000 + config("PER") + "</a>" * 20_000
    assert read_config(deep, TASK).label_of == {"PER": "PER"}


@given(st.text("<>&;!/= \"'aLText[]?-", max_size=60))
def test_any_configuration_is_read_or_refused(text):
    with suppress(Refusal):
        read_config(text, TASK)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "tasks: Field required"),
        ({"tasks": [{}], "label_config": ""}, "tasks[0].data: Field required"),
        ({"tasks": [{"data": {}}]}, "label_config: Field required"),
        ({"tasks": [{"data": {"text": 1}}]}, "a task's data has no text under 'text'"),
        ({"tasks": [{"data": {"other": "a"}}]}, "a task's data has no text under 'text'"),
    ],
)
def test_wrong_tasks_are_told(body, message):
    if message.startswith("a task"):
        body["label_config"] = config("PER")
    answer = ask(app_of(SlowTagger()), "POST", "/predict", json=body)
    assert (answer.status_code, answer.json()["error"]) == (400, message)


def test_so_many_tasks_and_no_more():
    body = {"tasks": [{"data": {"text": "a"}}] * 3, "label_config": config("PER")}
    answer = ask(app_of(stub_tagger(), max_texts=2), "POST", "/predict", json=body)
    assert answer.status_code == 413
