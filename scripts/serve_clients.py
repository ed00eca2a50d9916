"""Clients in a closed loop: each sends its next request when it has the answer to the last."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx

Ask = Callable[[httpx.AsyncClient, Any], Awaitable["Timed"]]


@dataclass
class Timed:
    """An answer, and the seconds from its request to its first and its last part."""

    answer: Any
    first: float
    last: float


def closed_loop(
    url: str, ask: Ask, requests: Sequence[Any], clients: int
) -> tuple[list[Timed], float]:
    """Let so many clients send the requests; returns the answers in order, and all seconds."""
    return asyncio.run(_closed_loop(url, ask, requests, clients))


async def _closed_loop(
    url: str, ask: Ask, requests: Sequence[Any], clients: int
) -> tuple[list[Timed], float]:
    answers: dict[int, Timed] = {}
    remaining = iter(enumerate(requests))

    async def work(client: httpx.AsyncClient) -> None:
        for number, request in remaining:
            answers[number] = await ask(client, request)

    async with AsyncExitStack() as stack:
        # Before the clock starts: each takes 30 ms to make, because it could verify certificates.
        opened = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=None))
            for _ in range(clients)
        ]
        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for client in opened:
                tasks.create_task(work(client))
        seconds = time.perf_counter() - started
    return [answers[number] for number in range(len(requests))], seconds


async def ask_for_entities(client: httpx.AsyncClient, text: str) -> Timed:
    """Ask `ner-edge serve` for the entities of a text."""
    return await _post(client, "/tag", {"text": text})


async def ask_for_stream(client: httpx.AsyncClient, text: str) -> Timed:
    """Ask `ner-edge serve` for the entities of a long text, sentence by sentence."""
    started = time.perf_counter()
    first = 0.0
    entities: list[Any] = []
    done = False
    async with client.stream("POST", "/tag/stream", json={"text": text}) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            first = first or time.perf_counter() - started
            record = json.loads(line)
            done = "done" in record
            entities += record["entities"] if not done else []
    if not done:
        raise RuntimeError("a stream ended without its summary")
    return Timed({"entities": entities}, first, time.perf_counter() - started)


async def ask_llama_cpp(client: httpx.AsyncClient, body: dict[str, Any]) -> Timed:
    """Ask `llama_cpp.server` to complete a prompt."""
    return await _post(client, "/v1/completions", body)


async def _post(client: httpx.AsyncClient, path: str, body: Any) -> Timed:
    started = time.perf_counter()
    response = await client.post(path, json=body)
    seconds = time.perf_counter() - started
    response.raise_for_status()
    return Timed(response.json(), seconds, seconds)
