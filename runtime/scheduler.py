"""Share one engine among many callers, whose sentences are decoded in common batches.

There is no worker thread: a caller that waits for a result evaluates the next batch for all, or
waits until another caller has done so. A single caller therefore runs the engine in its own thread,
with the same batches every time.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from threading import Condition
from typing import Protocol

from ner_edge.runtime.decoded import Decoded, Request, Take
from ner_edge.runtime.engine import READ_TOGETHER

LOOK_AHEAD = READ_TOGETHER + 1
"""The most sentences of a caller that wait. An engine takes at most so many in one step, so that
its batches do not depend on when a caller is asked for more."""

MOST_AHEAD = 1024
"""The most results that a caller is ahead, since sentences without words need not wait."""


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
        self.left = False


class Scheduler:
    """Decodes the sentences of many callers, each in its own thread, with one engine.

    Callers take turns, sentence by sentence, so that a long document does not hold up a short one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._changed = Condition()  # guards all that follows, and announces results
        self._callers: deque[Caller] = deque()
        self._stepping = False  # whether a thread runs the engine
        self._actions = 0  # that wait until no thread does
        self._unclean = False  # whether a step has not ended, or failed and was not undone

    def decode(
        self, sentences: Iterable[Sequence[str]], caller: Caller | None = None
    ) -> Generator[Decoded]:
        """Yield the result of each sentence, in order. All must fit the engine.

        The sentences are taken from their iterator in the thread that asks for results. Raises
        `CancelledError` once the `caller` has left. An error of the engine reaches the caller that
        ran it; the sentences of the others start again.
        """
        caller = caller or Caller()
        source = iter(sentences)
        with self._changed:
            self._callers.append(caller)
        try:
            while self._ask(caller, source):
                if caller.left:
                    raise CancelledError
                if (result := caller.requests[0].result) is None:
                    self._step_or_wait(caller)
                else:
                    with self._changed:  # another thread may be going through them
                        caller.requests.popleft()
                    yield result
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
            return sum(len(caller.waiting) for caller in self._callers)

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

    def _ask(self, caller: Caller, source: Iterator[Sequence[str]]) -> bool:
        """Request as many sentences as may wait. Returns whether a result is due."""
        while len(caller.waiting) < LOOK_AHEAD and len(caller.requests) < MOST_AHEAD:
            # Others may take them as fast as they come.
            if caller.requests and caller.requests[0].result is not None:
                break
            if (words := next(source, None)) is None:
                break
            request = Request(words, None if words else Decoded([]))
            with self._changed:
                caller.requests.append(request)
                if words:
                    caller.waiting.append(request)
        return bool(caller.requests)

    def _step_or_wait(self, caller: Caller) -> None:
        # Ctrl-C may come anywhere, even a second time while the first one is dealt with.
        ours = False
        try:
            with self._changed:
                if caller.left or caller.requests[0].result is not None:
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
                undone = (request for request in caller.requests if request.result is None)
                caller.waiting = deque(undone)
        self._unclean = False
