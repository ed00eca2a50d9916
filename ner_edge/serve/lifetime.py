"""The end of requests whose client hangs up, that take too long, or that fail."""

import asyncio
import traceback
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ner_edge.serve.refusal import Refusal
from ner_edge.terminal.streams import say


class Lifetime:
    """ASGI middleware that cancels a request when its client hangs up, or after `timeout` seconds.

    An answer that has begun is cut off. Failures are logged without their message, which may
    contain text of a user.
    """

    def __init__(self, app: ASGIApp, timeout: float) -> None:
        self._app = app
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, whose body must come in one message."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await receive()
        hang_up = asyncio.create_task(_hang_up(receive))
        answer = _Answer(body, hang_up, send)
        work = asyncio.ensure_future(self._app(scope, answer.receive, answer.send))
        try:
            done, _ = await asyncio.wait(
                {work, hang_up}, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if work in done or answer.is_complete:
                await work
            elif not done:
                limit = f"{self._timeout:g} seconds (--timeout)"
                await answer.refuse(scope, Refusal(504, f"the answer took more than {limit}"))
        except asyncio.CancelledError:
            await answer.refuse(scope, Refusal(503, "the server is stopping"))
        except Exception as error:
            _report(error)
            await answer.refuse(scope, Refusal(500, "the server failed; its log says where"))
        finally:
            hang_up.cancel()
            work.cancel()
            await asyncio.wait({work, hang_up})


class _Answer:
    def __init__(self, body: Message, hang_up: "asyncio.Task[None]", send: Send) -> None:
        self._to_receive = [body]
        self._hang_up = hang_up
        self._send = send
        self._has_begun = False
        self.is_complete = False

    async def receive(self) -> Message:
        if self._to_receive:
            return self._to_receive.pop()
        await asyncio.wait({self._hang_up})
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._has_begun = True
        self.is_complete = not message.get("more_body", message["type"] == "http.response.start")
        await self._send(message)

    async def refuse(self, scope: Scope, refusal: Refusal) -> None:
        if not self._has_begun:
            await refusal.send(scope, self.receive, self.send)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _report(error: Exception) -> None:
    place = traceback.extract_tb(error.__traceback__)[-1]
    name = f"{Path(place.filename).name}:{place.lineno} ({place.name})"
    say(f"error: a request failed with {type(error).__name__} in {name}")
