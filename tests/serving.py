"""Servers in this process: stub taggers behind the real application."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from stub_model import StubModel

from ner_edge.runtime.tagger import Entity
from ner_edge.runtime.word_tagger import Statistics
from ner_edge.segment import segment
from ner_edge.serve.app import make_app
from ner_edge.serve.models import Models
from ner_edge.serve.settings import ServeSettings
from ner_edge.tagger import Tagger
from ner_edge.task import load_task

URL = "http://127.0.0.1:8000"
TEXTS = ["Ada met Zoe in London. Zoe went to Rome.", "", "Nobody 🎉 came to München.", "  \n "]


def stub_tagger() -> Tagger:
    """A real tagger with a stub model; it finds nonsense, but always the same."""
    model = StubModel(512, context=4096)
    model.hardware = "1 thread"
    model.batches = model.tokens = 0
    return Tagger(model, Path("stub.gguf"), load_task("conll2003-short"), "copy")


class SlowTagger:
    """Tags the first word of each sentence as PER, once it is `let_go`."""

    def __init__(self) -> None:
        self.task = load_task("conll2003-short")
        self.decoder, self.hardware = "copy", "1 thread"
        self.statistics = Statistics(callers=0, waiting=0, batches=0, tokens=0)
        self.may_go = asyncio.Semaphore(0)
        self.open = 0
        """Streams that are neither exhausted nor closed."""
        self.started = asyncio.Event()

    def let_go(self, sentences: int) -> None:
        for _ in range(sentences):
            self.may_go.release()

    async def astream(self, text: str) -> AsyncGenerator[list[Entity]]:
        self.open += 1
        self.started.set()
        try:
            for first, *_ in segment(text):
                await self.may_go.acquire()
                yield [Entity(first.start, first.end, first.text, "PER", 0.5)]
        finally:
            self.open -= 1

    def close(self) -> None:
        pass


def make_models(taggers: dict[str, Any], *, loaded: bool = True) -> Models:
    """Return models that are given instead of loaded."""
    paths = {name: Path(name) for name in taggers}
    models = Models(paths, lambda path: taggers[str(path)])
    if loaded:
        models.load()
    return models


def app_of(tagger: Any, **settings: Any) -> FastAPI:
    """Return an application that serves one tagger, as `stub`."""
    return make_app(make_models({"stub": tagger}), ServeSettings(**settings))


def client_of(app: FastAPI, **settings: Any) -> httpx.AsyncClient:
    """Return a client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL, **settings)


def ask(app: FastAPI, method: str, path: str, **request: Any) -> httpx.Response:
    """Send one request to an application in this process."""

    async def send() -> httpx.Response:
        async with client_of(app) as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


class Exchange:
    """One request to an ASGI application, message by message, as a server passes them on."""

    def __init__(self, app: FastAPI, path: str, body: Sequence[bytes] = (), **headers: str) -> None:
        self.sent: list[Any] = []
        self.hang_up = asyncio.Event()
        self._chunks = list(body)
        self._more = len(self._chunks)
        named = {"host": "127.0.0.1:8000", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            "client": ("127.0.0.1", 1234),
            "server": ("127.0.0.1", 8000),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    @property
    def status(self) -> Any:
        """The status of the answer, once it has begun."""
        return self.sent[0]["status"] if self.sent else None

    @property
    def content(self) -> bytes:
        """The body of the answer so far."""
        return b"".join(message.get("body", b"") for message in self.sent)

    async def _receive(self) -> Any:
        if self._chunks:
            body = self._chunks.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._chunks)}
        await self.hang_up.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
