"""Sizes, times and places of requests, and clients that hang up."""

import asyncio
import json

import pytest
from serving import Exchange, SlowTagger, app_of, ask, make_models, stub_tagger

from ner_edge.serve.app import make_app
from ner_edge.serve.settings import ServeSettings

BODY = json.dumps({"text": "Ada came. Zoe went. Bob slept."}).encode()


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def error_of(exchange):
    return json.loads(exchange.content)["error"]


@pytest.mark.parametrize("chunks", [1, 10])
def test_a_body_may_be_so_large_and_no_larger(chunks):
    app = app_of(stub_tagger(), max_body=100)
    for length, status in ((100, 200), (101, 413)):
        body = json.dumps({"text": ""}).encode().ljust(length)
        parts = [body[i * length // chunks : (i + 1) * length // chunks] for i in range(chunks)]

        async def send(parts=parts):
            exchange = Exchange(app, "/tag", parts)
            await exchange.task
            return exchange

        exchange = asyncio.run(send())
        assert exchange.status == status
        if status == 413:
            assert error_of(exchange) == "the request is larger than 0.0001 MB (--max-body)"


def test_a_request_may_have_so_many_texts_and_no_more():
    app = app_of(stub_tagger(), max_texts=2)
    assert ask(app, "POST", "/tag", json={"texts": ["a", "b"]}).status_code == 200
    answer = ask(app, "POST", "/tag", json={"texts": ["a", "b", "c"]})
    assert answer.status_code == 413
    assert answer.json()["error"] == "the request has 3 texts; the limit is 2 (--max-texts)"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_only_json_is_read(kind):
    headers = {"content-type": kind}
    answer = ask(app_of(stub_tagger()), "POST", "/tag", content=BODY, headers=headers)
    assert answer.status_code == 415


def test_a_request_that_does_not_arrive_is_given_up():
    async def send():
        app = app_of(stub_tagger(), body_timeout=0.05)
        exchange = Exchange(app, "/tag", [b"{", b"}"])
        exchange._chunks = []  # nothing more comes
        await exchange.task
        return exchange

    exchange = asyncio.run(send())
    assert exchange.status == 408
    assert error_of(exchange) == "the request did not arrive within 0.05 seconds"


def test_further_requests_are_told_to_try_again():
    async def run():
        tagger = SlowTagger()
        app = app_of(tagger, max_requests=2)
        first = [Exchange(app, "/tag", [BODY]) for _ in range(2)]
        await until(lambda: tagger.open == 2)
        third = Exchange(app, "/tag", [BODY])
        await third.task
        assert third.status == 429
        assert (b"retry-after", b"2") in third.sent[0]["headers"]
        assert error_of(third) == "2 requests are under way (--max-requests); try again"
        tagger.let_go(6)
        await asyncio.gather(*(exchange.task for exchange in first))
        assert [exchange.status for exchange in first] == [200, 200]
        tagger.let_go(3)
        fourth = Exchange(app, "/tag", [BODY])
        await fourth.task
        assert fourth.status == 200

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/tag", "/tag/stream"])
@pytest.mark.parametrize("sentences", [0, 1])
def test_a_client_that_hangs_up_frees_its_sentences_at_once(path, sentences):
    async def run():
        tagger = SlowTagger()
        exchange = Exchange(app_of(tagger), path, [BODY])
        tagger.let_go(sentences)
        await until(lambda: tagger.open == 1 and tagger.may_go.locked())
        await asyncio.sleep(0.01)
        exchange.hang_up.set()
        await exchange.task
        assert tagger.open == 0
        if path == "/tag/stream":
            assert exchange.content.count(b"\n") == sentences

    asyncio.run(run())


def test_a_client_that_hangs_up_before_its_request_is_complete_is_forgotten():
    async def run():
        app = app_of(stub_tagger(), max_requests=1)
        broken = Exchange(app, "/tag")
        broken.hang_up.set()
        await broken.task
        assert broken.sent == []
        complete = Exchange(app, "/tag", [BODY])
        await complete.task
        assert complete.status == 200

    asyncio.run(run())


def test_a_stream_sends_each_sentence_as_soon_as_it_is_tagged():
    async def run():
        tagger = SlowTagger()
        exchange = Exchange(app_of(tagger), "/tag/stream", [BODY])
        for number in range(1, 4):
            tagger.let_go(1)
            await until(lambda number=number: exchange.content.count(b"\n") >= number)
        await exchange.task
        *sentences, last = map(json.loads, exchange.content.splitlines())
        names = [sentence["entities"][0]["text"] for sentence in sentences]
        assert names == ["Ada", "Zoe", "Bob"]
        assert last["done"]

    asyncio.run(run())


def test_an_answer_that_takes_too_long_is_given_up():
    async def run():
        tagger = SlowTagger()
        exchange = Exchange(app_of(tagger, timeout=0.05), "/tag", [BODY])
        await exchange.task
        assert exchange.status == 504
        assert error_of(exchange) == "the answer took more than 0.05 seconds (--timeout)"
        assert tagger.open == 0

    asyncio.run(run())


def test_a_stream_that_takes_too_long_ends_without_its_summary():
    async def run():
        tagger = SlowTagger()
        tagger.let_go(1)
        exchange = Exchange(app_of(tagger, timeout=0.2), "/tag/stream", [BODY])
        await exchange.task
        assert exchange.content.count(b"\n") == 1
        assert b"done" not in exchange.content
        assert exchange.sent[-1]["more_body"]  # the connection must be cut
        assert tagger.open == 0

    asyncio.run(run())


def test_a_server_that_stops_says_so():
    async def run():
        tagger = SlowTagger()
        exchange = Exchange(app_of(tagger), "/tag", [BODY])
        await until(lambda: tagger.open)
        exchange.task.cancel()
        await exchange.task
        assert exchange.status == 503
        assert error_of(exchange) == "the server is stopping"
        assert tagger.open == 0

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/tag", "/tag/stream"])
def test_a_failure_is_reported_without_the_text(path, capsys):
    class Broken(SlowTagger):
        async def astream(self, text):
            raise RuntimeError(f"cannot tag {text}")
            yield []

    async def run():
        exchange = Exchange(app_of(Broken()), path, [b'{"text": "a secret"}'])
        await exchange.task
        return exchange

    exchange = asyncio.run(run())
    if path == "/tag":
        assert exchange.status == 500
        assert error_of(exchange) == "the server failed; its log says where"
    else:
        assert exchange.sent[-1].get("more_body", True)  # the connection must be cut
    log = capsys.readouterr().err
    assert "secret" not in log
    assert "error: a request failed with RuntimeError in test_serve_limits.py:" in log


def test_a_text_that_cannot_be_tagged_is_an_error_of_the_request(capsys):
    from ner_edge.errors import DataError

    class Refusing(SlowTagger):
        async def astream(self, text):
            yield []
            raise DataError("the word 'aaa…' is too long for the model's context")

    app = app_of(Refusing())
    error = {"error": "the word 'aaa…' is too long for the model's context"}
    answer = ask(app, "POST", "/tag", json={"texts": ["a b.", "c."]})
    assert (answer.status_code, answer.json()) == (400, error)
    streamed = ask(app, "POST", "/tag/stream", json={"text": "a b. c d."})
    assert json.loads(streamed.text.splitlines()[-1]) == error
    assert capsys.readouterr().err == ""


def test_places_are_given_back_after_every_kind_of_end():
    app = make_app(make_models({"stub": stub_tagger()}), ServeSettings(max_requests=1))
    headers = {"content-type": "application/json"}
    for body in (b"{", b"x" * 3_000_000, b"[]", BODY):
        ask(app, "POST", "/tag", content=body, headers=headers)
    assert ask(app, "POST", "/tag", content=BODY, headers=headers).status_code == 200
