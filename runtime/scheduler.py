"""Share one engine among many callers, whose sentences are decoded in common batches.

There is no worker thread: a caller that waits for a result evaluates the next batch for all, or
waits until another caller has done so. A single caller therefore runs the engine in its own thread,
with the same batches every time.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError
from itertools import chain
from threading import Condition
from typing import Protocol

from ner_edge.runtime.decoded import Decoded, Document, Request, Take
from ner_edge.runtime.engine import READ_TOGETHER

LOOK_AHEAD = READ_TOGETHER + 1
"""The passages of a caller that wait before another document is asked for. An engine takes at most
so many in one step, so that its batches do not depend on when a caller is asked for more."""

MOST_AHEAD = 1024
"""The passages that a caller is ahead before another document is asked for, since those without
words need not wait."""


class Engine(Protocol):
    """Decodes requests, several at a time."""

    def step(self, take: Take) -> None:
        """Take requests and start them, or evaluate a batch; set the results that are finished."""

    def drop_cancelled(self) -> None:
        """Forget the requests that were cancelled."""

    def reset(self) -> None:
        """Forget all requests that were taken, in whatever state an error left them."""


class Caller:
    """Someone who waits for results."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        """Those whose results were not yielded, in order."""
        self.waiting: deque[Request] = deque()
        """Those of them that the engine has not taken."""
        self.yielded = 0
        """The number of results of the first request that were yielded."""
        self.left = False

    @property
    def has_result(self) -> bool:
        """Whether the next result is there."""
        return bool(self.requests) and self.yielded in self.requests[0].found


class Scheduler:
    """Decodes the passages of many callers, each in its own thread, with one engine.

    Callers take turns, passage by passage, so that a long document does not hold up a short one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = Condition()  # guards all that follows, and announces results
        self._callers: deque[Caller] = deque()
        self._stepping = False  # whether a thread runs the engine
        self._actions = 0  # that wait until no thread does
        self._unclean = False  # whether a step has not ended, or failed and was not undone

    def decode(
        self, documents: Iterable[Document], caller: Caller | None = None
    ) -> Generator[Decoded]:
        """Yield the result of each sentence of each document, in order. All passages must fit the
        engine.

        The documents are taken from their iterator in the thread that asks for results. Raises
        `CancelledError` once the `caller` has left. An error of the engine reaches the caller that
        ran it; the passages of the others start again.
        """
        caller = caller or Caller()
        source = iter(documents)
        with self._changed:
            self._callers.append(caller)
        try:
            while self._ask(caller, source):
                if caller.left:
                    raise CancelledError
                if not caller.has_result:
                    self._step_or_wait(caller)
                    continue
                request = caller.requests[0]
                decoded = request.found[caller.yielded]
                caller.yielded += 1
                if caller.yielded == len(request.sentences):
                    caller.yielded = 0
                    with self._changed:  # another thread may be going through them
                        caller.requests.popleft()
                yield decoded
        finally:
            self.leave(caller)

    def leave(self, caller: Caller) -> None:
        """Cancel what the caller still waits for; its own thread or another may call this."""
        with self._changed:
            caller.left = True
            if caller in self._callers:
                self._callers.remove(caller)
            for request in caller.requests:
                request.cancelled = True
            if not self._stepping:
                self._engine.drop_cancelled()
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """The number of sentences that wait to be taken by the engine."""
        with self._changed:
            requests = chain.from_iterable(caller.waiting for caller in self._callers)
            return sum(len(request.sentences) for request in requests)

    @property
    def callers(self) -> int:
        """The number of callers that wait for results."""
        return len(self._callers)

    def when_idle(self, action: Callable[[], None]) -> None:
        """Do something while no batch is evaluated."""
        with self._changed:
            self._actions += 1
            try:
                while self._stepping:
                    self._changed.wait()
                action()
            finally:
                self._actions -= 1
                self._changed.notify_all()

    def _ask(self, caller: Caller, source: Iterator[Document]) -> bool:
        """Request documents until enough passages wait. Returns whether a result is due."""
        while len(caller.waiting) < LOOK_AHEAD and len(caller.requests) < MOST_AHEAD:
            # Others may take them as fast as they come.
            if caller.has_result:
                break
            if (document := next(source, None)) is None:
                break
            to_read: list[Request] = []
            requests = [Request(sentences, to_read) for sentences in document]
            for request in requests:
                if request.sentences[0]:
                    to_read.append(request)
                else:
                    request.found[0] = Decoded([])
            with self._changed:
                caller.requests += requests
                caller.waiting += to_read
        return bool(caller.requests)

    def _step_or_wait(self, caller: Caller) -> None:
        # Ctrl-C may come anywhere, even a second time while the first one is dealt with.
        ours = False
        try:
            with self._changed:
                if caller.left or caller.has_result:
                    return  # since it was asked
                if self._stepping or self._actions:
                    self._changed.wait()
                    return
                self._stepping = ours = True
            if self._unclean:
                self._start_again()
            self._unclean = True
            self._engine.step(self._take)
            self._unclean = False
        except BaseException:
            if ours and self._unclean:
                self._start_again()
            raise
        finally:
            if ours:
                self._stepping = False
                with self._changed:
                    self._changed.notify_all()

    def _take(self) -> Request | None:
        with self._changed:
            for _ in range(len(self._callers)):
                caller = self._callers[0]
                self._callers.rotate(-1)
                if caller.waiting:
                    return caller.waiting.popleft()
        return None

    def _start_again(self) -> None:
        self._engine.reset()
        with self._changed:
            for caller in self._callers:
                caller.waiting = deque(r for r in caller.requests if not r.done)
                for request in caller.waiting:
                    request.tags = None
        self._unclean = False
