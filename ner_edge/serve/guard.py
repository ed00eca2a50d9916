"""Who may ask: the first thing that a request meets.

A web page from elsewhere must not reach a server on this machine, neither by a name that was
rebound to its address (the `Host` differs) nor by a form or script (the `Origin` differs).
"""

import base64
import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ner_edge.serve.refusal import Refusal
from ner_edge.serve.settings import ServeSettings

_PUBLIC = ("/", "/health")  # these, and the files of the page, reveal nothing
_PAGE = "/page/"
_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """ASGI middleware that refuses requests of other sites and those without the key."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or refuse a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        try:
            self._check(scope["path"], Headers(scope=scope))
        except Refusal as refusal:
            await refusal.send_after_body(scope, receive, send_safely)
        else:
            await self._app(scope, receive, send_safely)

    def _check(self, path: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._settings.serves(hosts[0]):
            raise Refusal(421, "this server is not the one that the Host header names")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != hosts[0].lower():
            raise Refusal(403, "pages of other sites may not use this server")
        key = self._settings.api_key
        if (
            key is None
            or path in _PUBLIC
            or path.startswith(_PAGE)
            or _has_key(headers.get("authorization"), key)
        ):
            return
        raise Refusal(
            401,
            "send the key of --api-key as `Authorization: Bearer KEY`",
            WWW_Authenticate="Bearer",
        )


def _has_key(authorization: str | None, key: str) -> bool:
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() == "basic":  # Label Studio sends a user name and a password
        given = _password(given)
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), key.encode())


def _password(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except ValueError:  # not base64, or not UTF-8
        return ""
