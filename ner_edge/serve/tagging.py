"""Tag the texts of a request; whoever cancels it frees its sentences."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple

from ner_edge.runtime.tagger import Entity
from ner_edge.segment import segment
from ner_edge.serve.metrics import Progress
from ner_edge.tagger import Tagger

_AT_ONCE = 8  # texts of a request


class Sentence(NamedTuple):
    """A tagged sentence; all offsets are those of the whole text."""

    start: int
    end: int
    entities: list[Entity]


async def tag_sentences(
    tagger: Tagger, text: str, min_score: float, progress: Progress
) -> AsyncGenerator[Sentence]:
    """Yield each sentence as soon as it is tagged, in order."""
    sentences = segment(text)
    async with aclosing(tagger.astream(text)) as results:
        async for entities in results:
            progress.sentence()
            words = next(sentences)
            kept = [entity for entity in entities if entity.score >= min_score]
            yield Sentence(words[0].start, words[-1].end, kept)


async def tag_texts(
    tagger: Tagger, texts: Sequence[str], min_score: float, progress: Progress
) -> list[list[Entity]]:
    """Return the entities of each text. Several texts share batches."""
    results: list[list[Entity]] = [[] for _ in texts]
    remaining = iter(zip(texts, results, strict=True))

    async def tag_remaining() -> None:
        for text, entities in remaining:
            async with aclosing(tag_sentences(tagger, text, min_score, progress)) as sentences:
                async for sentence in sentences:
                    entities += sentence.entities

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(_AT_ONCE, len(texts))):
                tasks.create_task(tag_remaining())
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
    progress.end()
    return results
