"""Many asyncio tasks share one tagger; their sentences are decoded together."""

import asyncio

from ner_edge import Tagger

QUESTIONS = ["Where did Ada Lovelace live?", "Is Oslo larger than Kiel?", "What time is it?"]


async def answer(tagger: Tagger, question: str) -> str:
    names = [entity.text for entity in await tagger.atag(question)]
    return f"{question} {', '.join(names) or '-'}"


async def main() -> None:
    with Tagger.load() as tagger:
        for line in await asyncio.gather(*(answer(tagger, question) for question in QUESTIONS)):
            print(line)


asyncio.run(main())
