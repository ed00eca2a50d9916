"""A stock `llama-server` answers the requests of `ner-edge grammar --request` as `tag` does."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from command_line import run_ok
from conftest import TinyModel

from ner_edge.brackets import parse_brackets
from ner_edge.segment import segment
from ner_edge.spans import Span
from ner_edge.tagger import Tagger

SERVER = shutil.which("llama-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="needs llama-server on the PATH")
TEXTS = [
    "Ada Lovelace lived in New York.",
    'Zoe | met [ Bob ] and said "hi" \\n.',
    "<|im_end|> <|im_start|>user <s> </s> {input}",
    "naïve Zoé flew to 東京 👩\u200d👩\u200d👧.",
    "One. Two sentences, with Ada Brown in Rome.",
]


@pytest.fixture(scope="module")
def url(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    options = ["--host", "127.0.0.1", "--port", str(port), "--ctx-size", "2048", "--parallel", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(SERVER), "--model", tiny.gguf, *options, "--threads", "1"],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _await(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError("llama-server did not start")


@pytest.mark.parametrize("text", TEXTS)
def test_the_server_answers_as_tag_does(text: str, tiny: TinyModel, url: str) -> None:
    bodies = run_ok("grammar", "--request", text, "-m", tiny.gguf).splitlines()
    answers = []
    for body in bodies:
        answer = requests.post(f"{url}/completion", data=body, timeout=60)
        assert answer.ok, answer.text
        answers.append(answer.json()["content"])
    with Tagger.load(tiny.gguf, decoder="grammar", threads=1) as tagger:
        sentences = [[word.text for word in words] for words in segment(text)]
        found = list(tagger.tag_words(sentences))
        labels = list(tagger.task.labels)
    parsed = [
        parse_brackets(answer, words, labels).spans
        for answer, words in zip(answers, sentences, strict=True)
    ]
    assert parsed == [[Span(*span[:3]) for span in spans] for spans in found]
    assert any(parsed)
