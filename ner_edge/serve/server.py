"""Run the server: its socket, its start, and its end by Ctrl-C."""

import asyncio
import os
import socket
from dataclasses import replace
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ner_edge.errors import UsageError
from ner_edge.serve.app import make_app
from ner_edge.serve.models import Models
from ner_edge.serve.settings import ServeSettings
from ner_edge.terminal.counts import counted
from ner_edge.terminal.streams import say

_GRACE = 5  # seconds for requests under way when the server stops
_HEADER_TIMEOUT = 10.0  # seconds within which the head of a request must arrive


def serve(models: Models, settings: ServeSettings) -> None:
    """Load the models and answer requests until Ctrl-C; requests under way are finished first.

    A second Ctrl-C ends the process at once. Raises `UsageError` if the address cannot be used,
    and the error of a model that cannot be loaded.
    """
    with _listen(settings) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        asyncio.run(_serve(models, settings, listener))


async def _serve(models: Models, settings: ServeSettings, listener: socket.socket) -> None:
    server = _Server(make_app(models, settings))
    loading = asyncio.create_task(asyncio.to_thread(models.load))
    loading.add_done_callback(server.stop_if_failed)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"serving {', '.join(models.names)} at http://{host}:{settings.port} (Ctrl-C stops)")
    await server.serve(sockets=[listener])
    await loading
    models.close()


class _Server(uvicorn.Server):
    def __init__(self, app: FastAPI) -> None:
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            # The log of uvicorn would contain paths and messages of errors.
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)

    def stop_if_failed(self, loading: "asyncio.Task[None]") -> None:
        self.should_exit |= loading.cancelled() or loading.exception() is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(130)
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if under_way := len(self.server_state.tasks):
            say(f"finishing {counted(under_way, 'request')}; Ctrl-C again stops at once")
        await super().shutdown(sockets)
        if tasks := self.server_state.tasks:  # cancelled, but not yet answered
            await asyncio.wait(tasks)


class _Protocol(H11Protocol):
    """Closes a connection on which no request arrives."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_request()

    def _expect_request(self) -> None:
        self.loop.call_later(_HEADER_TIMEOUT, self._close_if_idle, self.cycle)

    def _close_if_idle(self, latest: Any) -> None:
        if self.cycle is latest and (latest is None or latest.response_complete):
            self.transport.close()


def _listen(settings: ServeSettings) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host {settings.host}: no such address") from None
    try:
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        hint = "choose another port, or 0 for a free one"
        problem = os.strerror(error.errno or 0)
        raise UsageError(f"--port {settings.port}: {problem} at {settings.host}; {hint}") from None
    # Connections inherit this; asyncio sets it only where the socket names its protocol. Without
    # it, the body of an answer waits 40 ms for the client's delayed acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
