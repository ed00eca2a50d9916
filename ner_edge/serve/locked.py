"""Stands in for a tagger that many callers may use, until `Tagger` is one."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from ner_edge.runtime.tagger import Entity
from ner_edge.segment import segment
from ner_edge.tagger import Tagger


class LockedTagger:
    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._lock = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tagger, name)

    async def astream(self, text: str) -> AsyncGenerator[list[Entity]]:
        for words in segment(text):
            start, end = words[0].start, words[-1].end
            async with self._lock:
                found = await asyncio.to_thread(self._tagger, text[start:end])
            yield [replace(e, start=e.start + start, end=e.end + start) for e in found]
