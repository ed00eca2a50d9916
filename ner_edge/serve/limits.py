"""How much may be asked at a time, and how large and how slow a request may be."""

import asyncio

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ner_edge.serve.refusal import Refusal, body_of
from ner_edge.serve.settings import ServeSettings

_RETRY_AFTER = 2  # seconds


class Limits:
    """ASGI middleware for POST requests: it reads the whole body before the app runs."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._settings.max_requests:
            message = f"{self._under_way} requests are under way (--max-requests); try again"
            refusal = Refusal(429, message, Retry_After=str(_RETRY_AFTER))
            await refusal.send_after_body(scope, receive, send)
            return
        self._under_way += 1
        try:
            body = await self._read(Headers(scope=scope), receive)
            await self._app(scope, _with_body(body, receive), send)
        except Refusal as refusal:
            await refusal.send(scope, receive, send)
        except ClientDisconnect:  # before its request was complete
            pass
        finally:
            self._under_way -= 1

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        body = bytearray()
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                async for chunk in body_of(receive):
                    size += len(chunk)
                    if size <= self._settings.max_body:
                        body += chunk
        except TimeoutError:
            limit = f"{self._settings.body_timeout:g} seconds"
            raise Refusal(408, f"the request did not arrive within {limit}") from None
        if size > self._settings.max_body:
            limit = f"{self._settings.max_body / 1e6:g} MB (--max-body)"
            raise Refusal(413, f"the request is larger than {limit}")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, "send JSON, with the header `Content-Type: application/json`")
        return bytes(body)


def _with_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` whose first message is the whole body."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_body_first() -> Message:
        return messages.pop() if messages else await receive()

    return receive_body_first
