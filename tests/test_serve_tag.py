"""`/tag`, `/tag/stream`, `/models`, `/health`, `/metrics`: what the server answers."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import TEXTS, SlowTagger, app_of, ask, client_of, make_models, stub_tagger

from ner_edge.segment import segment
from ner_edge.serve.answers import WRITERS, entity_objects, written
from ner_edge.serve.app import make_app
from ner_edge.serve.settings import ServeSettings

TAGGER = stub_tagger()
APP = app_of(TAGGER)


def post(path, body):
    return ask(APP, "POST", path, json=body)


def lines_of(response):
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize("text", TEXTS)
def test_the_entities_of_a_text_are_those_of_the_tagger(text):
    expected = entity_objects(TAGGER(text))
    assert post("/tag", {"text": text}).json() == {"model": "stub", "entities": expected}


def test_several_texts_are_answered_in_order():
    texts = TEXTS * 5
    answer = post("/tag", {"texts": texts}).json()
    expected = [{"entities": entity_objects(found)} for found in TAGGER.pipe(texts)]
    assert answer == {"model": "stub", "results": expected}
    assert post("/tag", {"texts": []}).json()["results"] == []


@pytest.mark.parametrize("kind", sorted(WRITERS.keys() - {"jsonl"}))
def test_formats_are_those_of_the_command_line(kind):
    answer = post("/tag", {"texts": TEXTS, "format": kind}).json()
    expected = [written(kind, text, TAGGER(text)) for text in TEXTS]
    assert [result["output"] for result in answer["results"]] == expected
    one = post("/tag", {"text": TEXTS[0], "format": kind}).json()
    assert one == {"model": "stub", "output": expected[0]}


def test_min_score_leaves_out_what_is_less_certain():
    found = entity_objects(TAGGER(TEXTS[0]))
    least = sorted(entity["score"] for entity in found)[len(found) // 2] - 1e-6
    answer = post("/tag", {"text": TEXTS[0], "min_score": least}).json()
    assert answer["entities"] == [e for e in found if e["score"] >= least]
    assert 0 < len(answer["entities"]) < len(found)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_stream_has_the_sentences_and_entities_of_its_text(text):
    *sentences, last = lines_of(post("/tag/stream", {"text": text}))
    spans = [(sentence["start"], sentence["end"]) for sentence in sentences]
    assert spans == [(words[0].start, words[-1].end) for words in segment(text)]
    found = [entity for sentence in sentences for entity in sentence["entities"]]
    assert found == entity_objects(TAGGER(text))
    assert last.pop("seconds") >= 0
    counts = {"sentences": len(sentences), "entities": len(found)}
    assert last == {"done": True, "model": "stub", **counts}


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_entities_found_before_are_written_in_any_format(kind):
    found = TAGGER(TEXTS[0])
    body = {"text": TEXTS[0], "entities": entity_objects(found), "format": kind}
    assert post("/format", body).json() == {"output": written(kind, TEXTS[0], found)}
    body["entities"] = body["entities"][1:]  # the user has switched one off
    assert post("/format", body).json() == {"output": written(kind, TEXTS[0], found[1:])}


@pytest.mark.parametrize(
    ("spans", "number"),
    [([(2, 1)], 0), ([(0, 4)], 0), ([(0, 0)], 0), ([(0, 2), (1, 3)], 1), ([(2, 3), (0, 1)], 1)],
)
def test_entities_that_do_not_fit_the_text_are_refused(spans, number):
    entities = [{"start": start, "end": end, "label": "PER"} for start, end in spans]
    answer = post("/format", {"text": "Ada", "entities": entities, "format": "brackets"})
    assert answer.status_code == 400
    message = f"the request: entities[{number}] is out of order or outside the text"
    assert answer.json() == {"error": message}


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_conll_columns_are_those_of_the_words_and_entities(text):
    """The columns come from offsets; they must name the words that the tagger saw."""
    sentences = list(segment(text))
    columns = [c for c in written("conll", text, TAGGER(text)).split("\n\n") if c]
    columns = [column.rstrip("\n") for column in columns]
    assert len(columns) == len(sentences)
    spans = list(TAGGER.tag_words([word.text for word in words] for words in sentences))
    for column, words, found in zip(columns, sentences, spans, strict=True):
        rows = [line.rsplit(" ", 1) for line in column.splitlines()] if column else []
        assert [word for word, _ in rows] == [word.text for word in words]
        begins = [i for i, (_, tag) in enumerate(rows) if tag.startswith("B-")]
        assert begins == [span.start for span in found]
        assert sum(tag != "O" for _, tag in rows) == sum(span.end - span.start for span in found)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("{", "the request is not JSON"),
        ("", "the request: Field required"),
        ("[]", "the request: Input should be"),
        ('{"text": 1}', "text: Input should be a valid string"),
        ('{"texts": ["a", null]}', r"texts[1]: Input should be a valid string"),
        ('{"text": "a", "texts": []}', "the request: give either text or texts"),
        ("{}", "the request: give either text or texts"),
        (r'{"text": "a\u0000"}', "text: contains a NUL"),
        (r'{"texts": ["\ud83c"]}', "texts[0]: contains half of a surrogate pair"),
        ('{"text": "a", "min_score": 1.5}', "min_score: Input should be less than or equal to 1"),
        ('{"text": "a", "min_score": NaN}', "min_score: "),
        ('{"text": "a", "format": "xml"}', "format: is not one of brackets, jsonl, conll"),
        ('{"text": "a", "least": 1}', "least: Extra inputs are not permitted"),
        (r'{"text": "a", "\ud83c": 1}', ""),
        ("[" * 100_000, ""),
        (b"\xff", ""),
    ],
)
def test_a_wrong_request_is_answered_with_what_is_wrong(body, error):
    headers = {"content-type": "application/json"}
    answer = ask(APP, "POST", "/tag", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    assert answer.json()["error"].startswith(error)
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("name", ["other", "\ud83c", ""])
def test_an_unknown_model_is_answered_with_the_known_ones(name):
    body = json.dumps({"text": "a", "model": name or "x"})
    headers = {"content-type": "application/json"}
    answer = ask(APP, "POST", "/tag", content=body, headers=headers)
    assert answer.status_code == 404
    assert answer.json()["error"].endswith("there is stub")


def test_a_model_is_chosen_by_name():
    first, second = stub_tagger(), SlowTagger()
    app = make_app(make_models({"a": first, "b": second}), ServeSettings())
    second.let_go(1)
    answer = ask(app, "POST", "/tag", json={"text": "Zoe came.", "model": "b"})
    assert answer.json()["entities"][0]["text"] == "Zoe"
    assert ask(app, "POST", "/tag", json={"text": "Zoe came."}).json()["model"] == "a"
    models = ask(app, "GET", "/models").json()["models"]
    assert [model["name"] for model in models] == ["a", "b"]
    assert models[0]["labels"] == first.task.labels


def test_unknown_paths_and_methods_are_answered_in_json():
    assert ask(APP, "GET", "/x").json() == {"error": "Not Found"}
    answer = ask(APP, "GET", "/tag")
    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed"})


def test_nothing_is_tagged_before_the_models_are_loaded():
    models = make_models({"stub": TAGGER}, loaded=False)
    app = make_app(models, ServeSettings())
    assert ask(app, "GET", "/health").status_code == 503
    for answer in (ask(app, "GET", "/models"), ask(app, "POST", "/tag", json={"text": "a"})):
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "2"
        assert answer.json() == {"error": "the model stub is being loaded; try again"}
    models.load()
    answer = ask(app, "GET", "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "UP"})


def test_metrics_count_requests_and_sentences_but_name_no_text():
    app = app_of(stub_tagger())
    ask(app, "POST", "/tag", json={"text": "Ada came. Zoe went."})
    ask(app, "POST", "/tag", json={"text": 1})
    ask(app, "GET", "/a-secret-path?and=query")
    text = ask(app, "GET", "/metrics").text
    assert 'ner_edge_requests_total{path="/tag",status="200"} 1.0' in text
    assert 'ner_edge_requests_total{path="/tag",status="400"} 1.0' in text
    assert 'ner_edge_requests_total{path="other",status="404"} 1.0' in text
    assert 'ner_edge_sentences_total{model="stub"} 2.0' in text
    assert "ner_edge_first_sentence_seconds_count 1.0" in text
    assert "ner_edge_last_sentence_seconds_count 1.0" in text
    assert 'ner_edge_sentences_waiting{model="stub"} 0.0' in text
    assert "secret" not in text
    assert "Ada" not in text


def test_the_description_has_examples_that_are_answered():
    description = ask(APP, "GET", "/openapi.json").json()
    for path in ("/tag", "/tag/stream"):
        operation = description["paths"][path]["post"]
        content = operation["requestBody"]["content"]["application/json"]
        assert content["examples"]
        for example in content["examples"].values():
            assert post(path, example["value"]).status_code == 200
        assert operation["responses"]["200"]["content"]
    assert {"/health", "/models", "/metrics", "/format", "/setup", "/predict"} <= description[
        "paths"
    ].keys()


def test_many_clients_at_once_get_what_one_gets():
    expected = {text: entity_objects(TAGGER(text)) for text in TEXTS}

    async def ask_all():
        async with client_of(APP) as client:
            requests = [client.post("/tag", json={"text": text}) for text in TEXTS * 8]
            return await asyncio.gather(*requests)

    for text, answer in zip(TEXTS * 8, asyncio.run(ask_all()), strict=True):
        assert answer.json()["entities"] == expected[text]
