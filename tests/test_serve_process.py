"""`ner-edge serve` as a process: its start, its end, and its connections."""

import json
import re
import socket
import subprocess
import threading
import time

import httpx
import pytest
from command_line import assert_error, run
from doc_pages import blocks_of
from server_process import ServerProcess

from ner_edge.serve import server as server_module
from ner_edge.serve.answers import entity_objects
from ner_edge.serve.settings import ServeSettings
from ner_edge.tagger import Tagger

LONG = "Ada met Zoe in Rome. " * 20_000
TEXTS = ["Ada met Zoe in Rome.", "Nobody 🎉 came. Zoe went.", ""]


@pytest.fixture(scope="module")
def server(tiny):
    with ServerProcess("-m", tiny.gguf) as server:
        yield server


def connect(server, data):
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.settimeout(60)
    connection.sendall(data)
    return connection


def head_of(server, length, path="/tag/stream"):
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_answers_are_those_of_the_tagger(server, tiny):
    with Tagger.load(tiny.gguf, threads=1) as tagger:
        for text in TEXTS:
            answer = server.post("/tag", {"text": text})
            expected = entity_objects(tagger(text))
            for entity in [*answer["entities"], *expected]:
                entity["score"] = pytest.approx(entity["score"], abs=1e-3)
            assert answer == {"model": tiny.gguf.stem, "entities": expected}
    counted = [
        f'ner_edge_{name}_total{{model="{tiny.gguf.stem}"}}' for name in ("batches", "batch_tokens")
    ]
    batches, tokens = map(server.metric, counted)
    assert 0 < batches < tokens
    assert server.first_line.startswith(f"serving {tiny.gguf.stem} at http://127.0.0.1:")


def test_what_is_no_http_is_refused_and_forgotten(server):
    for data in (b"\0\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 100_000):
        with connect(server, data) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 4")
    assert server.client.get("/health").status_code == 200


def test_a_client_that_hangs_up_stops_the_work_at_once(server, tiny):
    body = json.dumps({"text": LONG}).encode()
    sentences = f'ner_edge_sentences_total{{model="{tiny.gguf.stem}"}}'
    before = server.metric(sentences)
    with connect(server, head_of(server, len(body)) + body) as connection:
        until(lambda: server.metric(sentences) > before)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: server.metric("ner_edge_requests_under_way") == 1)  # the one that asks
    assert server.metric(sentences) - before < 20_000
    assert server.post("/tag", {"text": TEXTS[0]})["entities"]


def test_requests_that_do_not_arrive_are_given_up(server):
    head = head_of(server, 100)
    waiting = [connect(server, data) for data in (b"", head[:30], head + b'{"text"')]
    answers = [connection.recv(1000) for connection in waiting]
    assert answers[:2] == [b"", b""]
    assert answers[2].startswith(b"HTTP/1.1 408")
    for connection in waiting:
        connection.close()


def test_a_large_request_is_read_to_its_end_and_then_refused(server):
    body = b" " * 30_000_000
    with connect(server, head_of(server, len(body)) + body) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_ctrl_c_finishes_what_is_under_way(tiny):
    with ServerProcess("-m", tiny.gguf) as server:
        answers = []
        text = "Ada met Zoe in Rome. " * 100

        def post():
            answers.append(httpx.post(f"{server.url}/tag", json={"text": text}, timeout=60).json())

        ask = threading.Thread(target=post)
        ask.start()
        until(lambda: server.metric("ner_edge_requests_under_way") == 2)
        server.interrupt()
        code, log = server.end()
        ask.join()
        assert code == 0
        assert answers[0]["model"] == tiny.gguf.stem
        assert log in ("", "finishing 1 request; Ctrl-C again stops at once\n")


def test_ctrl_c_gives_up_what_takes_too_long(tiny):
    with ServerProcess("-m", tiny.gguf) as server:
        body = json.dumps({"text": LONG}).encode()
        with connect(server, head_of(server, len(body), "/tag") + body) as connection:
            until(lambda: server.metric("ner_edge_requests_under_way") == 2)
            server.interrupt()
            assert connection.recv(1000).startswith(b"HTTP/1.1 503")
        code, log = server.end()
        assert code == 0
        # On a busy machine, the request for the metric has not ended yet.
        assert re.fullmatch(r"finishing (1 request|2 requests); Ctrl-C again stops at once\n", log)


def test_a_second_ctrl_c_stops_at_once(tiny):
    with ServerProcess("-m", tiny.gguf) as server:
        body = json.dumps({"text": LONG}).encode()
        with connect(server, head_of(server, len(body)) + body):
            until(lambda: server.metric("ner_edge_requests_under_way") == 2)
            server.interrupt()
            assert server.process.stderr.readline().startswith("finishing 1 request;")
            server.interrupt()
            assert server.end() == (130, "")


def test_a_port_that_is_taken_is_an_error(server, tiny):
    result = run("serve", "-m", tiny.gguf, "--port", server.port)
    assert_error(result, f"^error: --port {server.port}: .* in use at 127.0.0.1; choose another", 2)


def test_answers_are_sent_without_delay():
    with (
        server_module._listen(ServeSettings(port=0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_host_that_does_not_exist_is_an_error(tiny):
    result = run("serve", "-m", tiny.gguf, "--host", "no such host", "--no-auth")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "warning: everyone who can reach no such host can use this server",
        "error: --host no such host: no such address",
    ]


def test_an_address_that_others_can_reach_needs_a_key(tiny):
    result = run("serve", "-m", tiny.gguf, "--host", "0.0.0.0")
    assert_error(result, "^error: --host 0.0.0.0: others can reach this address, so it needs", 2)


def test_models_have_different_names(tiny):
    result = run("serve", "-m", tiny.gguf, "-m", tiny.gguf)
    assert_error(result, f"another model is already served as {tiny.gguf.stem}", 2)
    assert_error(run("serve", "-m", "none.gguf"), "^error: none.gguf: no such file")


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\xff" * 100)
    with ServerProcess("-m", path, ready=False) as server:
        code, log = server.end()
        assert code == 1
        assert log.startswith(f"error: {path}: ")
        assert log.count("\n") == 1


def test_a_library_that_is_missing_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "fastapi", None)
    for name in [name for name in sys.modules if name.startswith("ner_edge.serve.")]:
        monkeypatch.delitem(sys.modules, name)
    result = run("serve")
    assert_error(result, r"^error: fastapi is missing; .* pip install 'ner-edge\[serve\]'", 2)


def test_the_key_may_come_from_the_environment(tiny, monkeypatch):
    monkeypatch.setenv("NER_EDGE_API_KEY", "a-key")
    with ServerProcess("-m", tiny.gguf) as server:
        assert server.client.get("/models").status_code == 401
        headers = {"Authorization": "Bearer a-key"}
        assert server.client.get("/models", headers=headers).status_code == 200


@pytest.mark.model
@pytest.mark.usefixtures("base_gguf")
def test_the_default_model_answers_what_is_shown():
    def rounded(text):  # the last digits of scores differ between processors
        text = re.sub(r'"seconds": [\d.]+', '"seconds": 1', text)
        return re.sub(r"\d\.\d{3,}", lambda score: f"{float(score[0]):.1f}", text)

    blocks = [b for b in blocks_of("docs/serving.md") if b.reason == "needs a running server"]
    commands = [pair for block in blocks for pair in block.commands]
    assert len(commands) == 3
    with ServerProcess() as server:
        for command, shown in commands:
            asked = command.replace("localhost:8000", f"localhost:{server.port}")
            answer = subprocess.run(["bash", "-c", asked], capture_output=True, text=True).stdout
            assert rounded(answer).strip() == rounded(shown).strip()


def test_no_text_is_logged(tiny):
    with ServerProcess("-m", tiny.gguf) as server:
        server.client.get("/secret?secret=secret")
        server.client.post("/tag", json={"text": "secret", "format": "secret"})
        server.client.post("/tag", content=b'{"secret')
        server.post("/tag", {"text": "Secret text."})
        server.interrupt()
        assert server.end() == (0, "")
