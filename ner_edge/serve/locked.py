"""Stands in for a tagger that many callers may use, until `Tagger` is one."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from ner_edge.runtime.tagger import Entity
from ner_edge.segment import segment
from ner_edge.tagger import Tagger


class LockedTagger:
    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tagger, name)

    def __call__(self, text: str) -> list[Entity]:
        with self._lock:
            return self._tagger(text)

    def close(self) -> None:
        with self._lock:
            self._tagger.close()
            self._tagger = None

    async def astream(self, text: str) -> AsyncGenerator[list[Entity]]:
        for words in segment(text):
            start, end = words[0].start, words[-1].end
            found = await asyncio.to_thread(self, text[start:end])
            yield [replace(e, start=e.start + start, end=e.end + start) for e in found]
