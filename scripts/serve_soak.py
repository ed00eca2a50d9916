"""Many clients at once, some of which hang up or send nonsense: every answer is compared."""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from serve_clients import ask_for_entities, closed_loop
from server_process import ServerProcess

from ner_edge.serve.answers import entity_objects
from ner_edge.tagger import Tagger
from ner_edge.terminal.progress import progress_bar

CLIENTS = 64
NEAR_TIE = 0.6
"""At a near tie, no alternative has much more than half of the probability."""
Spans = dict[tuple[int, int, str], float]


def soak(
    tagger: Tagger,
    server: ServerProcess,
    texts: Sequence[str],
    seconds: float,
    memory: Callable[[], float],
) -> dict[str, Any]:
    """Return what was counted; `memory` measures the server."""
    expected = {}
    with progress_bar("the tagger alone") as update:
        for number, text in enumerate(texts):
            expected[text] = spans_of(entity_objects(tagger(text)))
            update(number, len(texts))
    closed_loop(server.url, ask_for_entities, list(expected), CLIENTS)  # warm up
    before = memory()
    counts = asyncio.run(_Soak(server, expected).run(seconds))
    after = memory()
    answers, _ = closed_loop(server.url, ask_for_entities, list(expected), 1)
    alone = [spans_of(timed.answer["entities"]).keys() for timed in answers]
    wrong_alone = sum(
        found != spans.keys() for found, spans in zip(alone, expected.values(), strict=True)
    )
    return {
        **counts,
        "wrong_alone_afterwards": wrong_alone,
        "requests_never_ended": server.metric("ner_edge_requests_under_way") - 1,
        "megabytes": {"before": before, "after": after},
    }


def spans_of(entities: Sequence[Any]) -> Spans:
    return {(e["start"], e["end"], e["label"]): e["score"] for e in entities}


class _Soak:
    def __init__(self, server: ServerProcess, expected: dict[str, Spans]) -> None:
        self._server = server
        self._expected = expected
        self._counts: Counter[str] = Counter()

    async def run(self, seconds: float) -> dict[str, int]:
        end = time.monotonic() + seconds
        with progress_bar("soak") as update:
            clients = [asyncio.create_task(self._client(number, end)) for number in range(CLIENTS)]
            while not all(client.done() for client in clients):
                left = max(end - time.monotonic(), 0)
                update(seconds - left, seconds, note=f"{self._counts['answers']} answers")
                await asyncio.wait(clients, timeout=1)
            for client in clients:
                client.result()
        names = ("answers", "near_ties", "wrong", "hung_up", "refused", "status_5xx", "unexpected")
        return {name: self._counts[name] for name in names}

    async def _client(self, number: int, end: float) -> None:
        source = random.Random(number)
        texts = list(self._expected)
        async with httpx.AsyncClient(base_url=self._server.url, timeout=None) as client:
            while time.monotonic() < end:
                text = source.choice(texts)
                kind = source.random()
                if kind < 0.1:
                    await self._hang_up(text, source.random())
                elif kind < 0.2:
                    await self._send_nonsense(client, source)
                else:
                    await self._compare(client, text)

    async def _compare(self, client: httpx.AsyncClient, text: str) -> None:
        response = await client.post("/tag", json={"text": text})
        self._note_status(response.status_code, 200)
        if response.status_code != 200:
            return
        self._counts["answers"] += 1
        found, expected = spans_of(response.json()["entities"]), self._expected[text]
        scores = [{**found, **expected}[span] for span in found.keys() ^ expected.keys()]
        if scores:
            kind = "near_ties" if max(scores) <= NEAR_TIE else "wrong"
            self._counts[kind] += 1
            print(f"{kind}: {scores}", file=sys.stderr)

    async def _hang_up(self, text: str, delay: float) -> None:
        data = json.dumps({"text": f"{text} " * 50}).encode()
        reader, writer = await self._connect("/tag/stream", len(data))
        writer.write(data)
        await reader.read(100)
        await asyncio.sleep(delay)
        writer.transport.abort()
        self._counts["hung_up"] += 1

    async def _send_nonsense(self, client: httpx.AsyncClient, source: random.Random) -> None:
        if source.random() < 1 / len(_NONSENSE):
            self._note_status(await self._send_slowly(), 408)
        else:
            send, status = source.choice(_NONSENSE)
            self._note_status(await send(client), status)
        self._counts["refused"] += 1

    async def _send_slowly(self) -> int:
        reader, writer = await self._connect("/tag", 100)
        writer.write(b'{"text"')
        status = int((await reader.readline()).split()[1])
        writer.transport.abort()
        return status

    async def _connect(
        self, path: str, length: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._server.port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode())
        return reader, writer

    def _note_status(self, status: int, expected: int) -> None:
        self._counts["status_5xx"] += status >= 500
        if status != expected:
            self._counts["unexpected"] += 1
            print(f"status {status} instead of {expected}", file=sys.stderr)


_Nonsense = tuple[Callable[[httpx.AsyncClient], Awaitable[int]], int]


def _body(content: bytes, kind: str = "application/json") -> Any:
    async def send(client: httpx.AsyncClient) -> int:
        headers = {"Content-Type": kind}
        return (await client.post("/tag", content=content, headers=headers)).status_code

    return send


async def _other_host(client: httpx.AsyncClient) -> int:
    return (await client.get("/models", headers={"Host": "evil.example"})).status_code


_NONSENSE: list[_Nonsense] = [
    (_body(b"{"), 400),
    (_body(b'{"text": 1}'), 400),
    (_body(b'{"text": "\\u0000"}'), 400),
    (_body(b'{"text": "a", "model": "x"}'), 404),
    (_body(b"\xff\x00" * 500), 400),
    (_body(b" " * 3_000_000), 413),
    (_body(b"text=a", "application/x-www-form-urlencoded"), 415),
    (_other_host, 421),
]
