"""Requests that are refused, with the reason in JSON."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ner_edge.errors import NerEdgeError

_PATIENCE = 10.0  # seconds


class Refusal(NerEdgeError):
    """A request that is not answered; the message is for the client, as `{"error": message}`."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> JSONResponse:
        """Return the answer of this status."""
        return error_response(self.status, str(self), self.headers)

    async def send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request at once."""
        await self.response()(scope, receive, send)

    async def send_after_body(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request once it has arrived.

        Many clients read no answer before they have sent everything.
        """
        with suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(_PATIENCE):
                async for _ in body_of(receive):
                    pass
        await self.send(scope, receive, send)


def error_response(
    status: int, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return a JSON object with one `error`."""
    valid = message.encode("utf-8", "replace").decode()  # it may quote a lone surrogate
    return JSONResponse({"error": valid}, status, headers)


async def body_of(receive: Receive) -> AsyncIterator[bytes]:
    """Yield what is left of a request's body. Raises `ClientDisconnect` if it does not all come."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)
