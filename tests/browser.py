"""A server in a thread of this process, and a Chromium that looks at its page."""

import asyncio
import shutil
import socket
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from serving import make_models

from ner_edge.runtime.tagger import Entity
from ner_edge.runtime.word_tagger import Statistics
from ner_edge.segment import segment
from ner_edge.serve.app import make_app
from ner_edge.serve.settings import ServeSettings
from ner_edge.task import load_task

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)


class KnownNames:
    """A tagger that finds these words, each with its label and score."""

    def __init__(self, names: Mapping[str, tuple[str, float]]) -> None:
        self.task = load_task("conll2003-short")
        self.decoder, self.hardware = "copy", "1 thread"
        self.statistics = Statistics(callers=0, waiting=0, batches=0, tokens=0)
        self._names = names
        self.waits_after: int | None = None
        """The number of sentences after which it tags no more."""

    def __call__(self, text: str) -> list[Entity]:
        return [entity for words in segment(text) for entity in self._entities(text, words)]

    async def astream(self, text: str) -> AsyncGenerator[list[Entity]]:
        for number, words in enumerate(segment(text)):
            if number == self.waits_after:
                await asyncio.Event().wait()
            yield self._entities(text, words)

    def close(self) -> None:
        pass

    def _entities(self, text: str, words: Any) -> list[Entity]:
        return [
            Entity(word.start, word.end, text[word.start : word.end], *self._names[word.text])
            for word in words
            if word.text in self._names
        ]


@contextmanager
def serving(taggers: Mapping[str, Any], **settings: Any) -> Iterator[str]:
    """Serve `taggers` until the end of the block; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        app = make_app(make_models(dict(taggers)), ServeSettings(port=port, **settings))
        config = uvicorn.Config(
            app, lifespan="off", log_level="critical", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips the test if there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
