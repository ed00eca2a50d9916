"""Requests that are refused, with the reason in JSON."""

from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ner_edge.errors import NerEdgeError


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
        """Answer an ASGI request."""
        await self.response()(scope, receive, send)


def error_response(status: int, message: str, headers: Any = None) -> JSONResponse:
    """Return a JSON object with one `error`."""
    valid = message.encode("utf-8", "replace").decode()  # it may quote a lone surrogate
    return JSONResponse({"error": valid}, status, headers)
