"""Many callers share an engine; each gets what it would get alone."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest
from conftest import TinyModel
from hypothesis import given, settings
from hypothesis import strategies as st
from stub_model import StubModel
from test_engine import HEAD, LABELS, PROMPTS, WORDS, alone, assert_same, naive

from ner_edge import Entity, Tagger
from ner_edge.errors import NerEdgeError, UsageError
from ner_edge.runtime.batch import Run
from ner_edge.runtime.decoded import Decoded, Request, Take
from ner_edge.runtime.engine import CopyEngine
from ner_edge.runtime.reader import SentenceReader
from ner_edge.runtime.scheduler import LOOK_AHEAD, Caller, Scheduler

Words = Sequence[str]
SENTENCES = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=5), max_size=12)


def engine_of(model: StubModel, *, reads: bool) -> CopyEngine:
    reader = SentenceReader(model, HEAD, PROMPTS) if reads else None
    return CopyEngine(model, LABELS, PROMPTS, in_flight=3, reader=reader)


def is_empty(model: StubModel) -> bool:
    return all(not held for sequence, held in model.memory.items() if sequence)


@settings(max_examples=60, deadline=None)
@given(st.lists(SENTENCES, min_size=2, max_size=5), st.booleans())
def test_callers_that_take_turns_get_what_each_gets_alone(
    documents: list[list[Words]], reads: bool
) -> None:
    model = StubModel(512, PROMPTS.prefix)
    scheduler = Scheduler(engine_of(model, reads=reads))
    results = [scheduler.decode(alone(sentences)) for sentences in documents]
    found: list[list[Decoded]] = [[] for _ in documents]
    unfinished = list(range(len(documents)))
    while unfinished:
        for number in list(unfinished):
            if (decoded := next(results[number], None)) is None:
                unfinished.remove(number)
            else:
                found[number].append(decoded)
    for sentences, ours in zip(documents, found, strict=True):
        assert len(ours) == len(sentences)
        assert_same(ours, [naive(list(words)) for words in sentences])
    assert is_empty(model)
    assert scheduler.callers == scheduler.waiting == 0


def test_callers_in_threads_get_what_each_gets_alone() -> None:
    model = StubModel(512, PROMPTS.prefix)
    scheduler = Scheduler(engine_of(model, reads=True))
    documents = [
        [[WORDS[(i * j + k) % len(WORDS)] for k in range(1 + i % 4)] for i in range(25)]
        for j in range(8)
    ]
    with ThreadPoolExecutor(8) as threads:
        found = list(
            threads.map(lambda sentences: list(scheduler.decode(alone(sentences))), documents)
        )
    for sentences, ours in zip(documents, found, strict=True):
        assert_same(ours, [naive(words) for words in sentences])
    assert is_empty(model)


def test_callers_get_the_sentences_of_documents_in_order() -> None:
    model = StubModel(512, PROMPTS.prefix)
    engine = engine_of(model, reads=True)
    scheduler = Scheduler(engine)
    documents = [
        [
            [[WORDS[(i * j + k) % len(WORDS)] for k in range(1 + i % 3)] for i in range(passage)]
            for passage in range(1, j)
        ]
        for j in range(2, 6)
    ]
    expected = [found for one in documents for found in Scheduler(engine).decode([one])]
    with ThreadPoolExecutor(4) as threads:
        results = [threads.submit(lambda: list(scheduler.decode(documents))) for _ in range(4)]
        leaving = scheduler.decode(documents)
        next(leaving)
        leaving.close()
        for result in results:
            ours = result.result(10)
            assert [decoded.spans for decoded in ours] == [decoded.spans for decoded in expected]
    assert is_empty(model)
    assert not engine._waiting


def test_a_passage_that_starts_again_keeps_what_was_found() -> None:
    model = StubModel(512, PROMPTS.prefix)
    engine = engine_of(model, reads=True)
    request = Request([["Ada"], ["the", "London"], ["London", "."]])
    waiting = [request]
    while len(request.found) < 1:
        engine.step(lambda: waiting.pop() if waiting else None)
    engine.reset()
    assert is_empty(model)
    first = dict(request.found)
    waiting = [request]
    while not request.done:
        engine.step(lambda: waiting.pop() if waiting else None)
    assert all(request.found[place] is decoded for place, decoded in first.items())
    assert is_empty(model)


class Counting:
    """An engine that finishes one request in each step, and can be told to fail."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.fails_at: dict[str, BaseException] = {}
        self.during: Callable[[], None] = lambda: None
        self.held: list[Request] = []

    def step(self, take: Take) -> None:
        while len(self.held) < 2 and (request := take()):
            self.held.append(request)
        self.during()
        if error := self.fails_at.pop(self.held[0].sentences[0][0], None):
            raise error
        request = self.held.pop(0)
        self.steps.append(request.sentences[0][0])
        request.found[0] = Decoded([])

    def drop_cancelled(self) -> None:
        self.held = [request for request in self.held if not request.cancelled]

    def reset(self) -> None:
        self.held = []


def test_a_long_document_does_not_hold_up_a_short_one() -> None:
    engine = Counting()
    scheduler = Scheduler(engine)
    long = scheduler.decode(alone([f"long {i}"] for i in range(100)))
    next(long)
    assert len(list(scheduler.decode(alone([["short 0"], ["short 1"]])))) == 2
    # At most one sentence of the long document was ahead of each, and one was in flight.
    assert len(engine.steps) <= 6
    assert len(list(long)) == 99
    assert [name for name in engine.steps if "long" in name] == [f"long {i}" for i in range(100)]


def test_a_caller_takes_no_more_sentences_than_may_wait() -> None:
    taken: list[int] = []

    def source() -> Iterator[Words]:
        for number in range(10 * LOOK_AHEAD):
            taken.append(number)
            yield [str(number)]

    results = Scheduler(Counting()).decode(alone(source()))
    next(results)
    assert len(taken) <= LOOK_AHEAD + 3  # and those in flight


def test_a_slow_source_does_not_hold_back_results_while_others_run_the_engine() -> None:
    engine = Counting()
    scheduler = Scheduler(engine)
    other = scheduler.decode(alone(["other"] for _ in range(10_000)))
    taken: list[int] = []

    def source() -> Iterator[Words]:
        for number in range(10 * LOOK_AHEAD):
            taken.append(number)
            yield [str(number)]
            for _ in range(2):  # while this source waits, another caller goes on
                next(other)

    next(scheduler.decode(alone(source())))
    assert len(taken) < LOOK_AHEAD


def test_a_caller_who_leaves_frees_its_sentences_at_once() -> None:
    model = StubModel(512, PROMPTS.prefix)
    scheduler = Scheduler(engine_of(model, reads=False))
    leaving = scheduler.decode(alone([["Ada", "London"]] * 10))
    staying = scheduler.decode(alone([["the", "London"]] * 2))
    next(leaving)
    first = next(staying)
    leaving.close()
    assert scheduler.callers == 1
    assert_same([first, *staying], [naive(["the", "London"])] * 2)
    assert is_empty(model)


def test_a_caller_can_be_made_to_leave_while_it_waits() -> None:
    engine, caller = Counting(), Caller()
    scheduler = Scheduler(engine)
    stepping, go_on = threading.Event(), threading.Event()

    def during() -> None:
        stepping.set()
        go_on.wait(10)

    engine.during = during
    with ThreadPoolExecutor(2) as threads:
        other = threads.submit(lambda: list(scheduler.decode(alone([["a"], ["b"]]))))
        assert stepping.wait(10)
        waits = threads.submit(lambda: list(scheduler.decode(alone([["c"]]), caller)))
        while scheduler.callers < 2:
            pass
        scheduler.leave(caller)
        with pytest.raises(CancelledError):
            waits.result(10)
        go_on.set()
        assert len(other.result(10)) == 2
    assert "c" not in engine.steps


def test_an_error_reaches_the_caller_that_ran_into_it_and_the_others_start_again() -> None:
    engine = Counting()
    engine.fails_at = {"one 1": NerEdgeError("the batch failed")}
    scheduler = Scheduler(engine)
    one = scheduler.decode(alone([["one 0"], ["one 1"]]))
    two = scheduler.decode(alone([f"two {i}"] for i in range(9)))
    assert (next(two), next(one)) == (Decoded([]), Decoded([]))
    with pytest.raises(NerEdgeError, match="the batch failed"):
        next(one)
    assert "two" in engine.steps[-1]
    assert scheduler.callers == 1
    assert len(list(two)) == 8
    assert engine.steps.count("one 0") == 1
    assert [name for name in engine.steps if "two" in name] == [f"two {i}" for i in range(9)]


class Failing(StubModel):
    """Its evaluations fail once `left` of them are done, but only one of them."""

    left = -1

    def _count(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise NerEdgeError("failed")

    def decode(self, runs: Sequence[Run], *, whole: bool = False) -> list[dict[int, int]]:
        self._count()
        return super().decode(runs, whole=whole)

    def read(self, runs: Sequence[Run], *, depth: int | None = None) -> list[Any]:
        self._count()
        return super().read(runs, depth=depth)


@pytest.mark.parametrize("left", range(12))
def test_documents_that_start_again_have_the_same_entities(left: int) -> None:
    """Also if some of their sentences had been read, tagged or given away before the error."""
    documents = [[[[word, "London"], ["the", word]], [["London", word]]] for word in WORDS]
    unbroken = Scheduler(engine_of(StubModel(64, PROMPTS.prefix), reads=True)).decode(documents)
    expected = [decoded.spans for decoded in unbroken]
    model = Failing(64, PROMPTS.prefix)
    scheduler = Scheduler(engine_of(model, reads=True))
    staying = scheduler.decode(documents)
    found = [next(staying) for _ in range(2)]
    model.left = left
    with pytest.raises(NerEdgeError, match="failed"):
        list(scheduler.decode(documents * 4))
    assert_same([*found, *staying], expected)
    assert is_empty(model)


def test_others_may_take_results_while_they_are_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing, taken = threading.current_thread(), threading.Event()
    starting_again = threading.Event()

    class Watched(Request):
        def __getattribute__(self, name: str) -> object:
            here = threading.current_thread() is failing
            if here and name == "found" and starting_again.is_set():
                taken.wait(0.05)
            return super().__getattribute__(name)

    monkeypatch.setattr("ner_edge.runtime.scheduler.Request", Watched)
    engine = Counting()
    scheduler = Scheduler(engine)
    other = scheduler.decode(alone([[f"other {i}"] for i in range(9)]))
    next(other)
    results = scheduler.decode(alone([[f"{i}"] for i in range(9)]))
    for _ in range(5):
        next(results)  # some of the other's results are there, too
    monkeypatch.setattr(engine, "reset", starting_again.set)
    engine.fails_at = {request.sentences[0][0]: NerEdgeError("failed") for request in engine.held}

    def take() -> Decoded:
        starting_again.wait(10)
        try:
            return next(other)
        finally:
            taken.set()

    with ThreadPoolExecutor(1) as threads:
        result = threads.submit(take)
        with pytest.raises(NerEdgeError, match="failed"):
            list(results)
        assert result.result(10) == Decoded([])


def test_an_interrupt_leaves_nothing_in_flight() -> None:
    class Interrupted(StubModel):
        interrupts = 1

        def decode(self, runs: Sequence[Run], *, whole: bool = False) -> list[dict[int, int]]:
            rows = super().decode(runs, whole=whole)
            if self.interrupts and len(runs) == 3:
                self.interrupts = 0
                raise KeyboardInterrupt
            return rows

    model = Interrupted(512, PROMPTS.prefix)
    scheduler = Scheduler(engine_of(model, reads=False))
    with pytest.raises(KeyboardInterrupt):
        list(scheduler.decode(alone([["Ada", "London"]] * 5)))
    assert is_empty(model)
    assert_same(list(scheduler.decode(alone([["Ada"]] * 5))), [naive(["Ada"])] * 5)


class InterruptedLock(threading.Condition):
    """Raises `KeyboardInterrupt` once, after a number of times that it was taken or released."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._times = times

    def __enter__(self) -> bool:
        self._count()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        super().__exit__(None, None, None)
        self._count()

    def _count(self) -> None:
        self._times -= 1
        if not self._times:
            raise KeyboardInterrupt


@pytest.mark.parametrize("times", range(1, 25))
def test_an_interrupt_at_any_time_does_not_stop_others(times: int) -> None:
    scheduler = Scheduler(Counting())
    other = scheduler.decode(alone([f"other {i}"] for i in range(9)))
    assert next(other) == Decoded([])
    scheduler._changed = InterruptedLock(times)
    with pytest.raises(KeyboardInterrupt):
        list(scheduler.decode(alone([[str(i)] for i in range(9)])))
    with ThreadPoolExecutor(1) as threads:
        assert len(threads.submit(list[Decoded], other).result(10)) == 8


def test_a_second_interrupt_does_not_lose_the_sentences_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Counting()
    engine.fails_at = {"one": KeyboardInterrupt()}
    scheduler = Scheduler(engine)
    other = scheduler.decode(alone([f"other {i}"] for i in range(9)))
    next(other)

    def interrupted() -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "reset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(scheduler.decode(alone([["one"]])))
    with ThreadPoolExecutor(1) as threads:
        assert len(threads.submit(list[Decoded], other).result(10)) == 8


def test_nothing_is_evaluated_while_the_model_is_closed() -> None:
    engine, order = Counting(), []
    scheduler = Scheduler(engine)
    stepping = threading.Event()

    def during() -> None:
        stepping.set()
        threading.Event().wait(0.05)
        order.append("evaluated")

    engine.during = during
    with ThreadPoolExecutor(1) as threads:
        results = threads.submit(lambda: list(scheduler.decode(alone([["a"]]))))
        assert stepping.wait(10)
        scheduler.when_idle(lambda: order.append("closed"))
        assert len(results.result(10)) == 1
    assert order == ["evaluated", "closed"]


def test_an_action_waits_for_one_batch_only() -> None:
    engine = Counting()
    engine.during = lambda: time.sleep(0.01)
    scheduler = Scheduler(engine)
    done: list[int] = []
    with ThreadPoolExecutor(3) as threads:
        results = [
            threads.submit(lambda: list(scheduler.decode(alone([["a"]] * 30)))) for _ in range(3)
        ]
        while len(engine.steps) < 3:
            pass
        scheduler.when_idle(lambda: done.append(len(engine.steps)))
        assert [len(result.result(10)) for result in results] == [30] * 3
    assert done[0] < 10


# Without G, which is a near tie for the tiny model: the texts that share its batch decide it.
TEXTS = [f"Ada Lovelace met {name} in London. He left for Paris." for name in "ABCDEFHI"]


@pytest.fixture
def tagger(tiny: TinyModel) -> Iterator[Tagger]:
    with Tagger.load(tiny.gguf, threads=1) as loaded:
        yield loaded


def without_scores(entities: list[Entity]) -> list[tuple[int, int, str]]:
    return [(entity.start, entity.end, entity.label) for entity in entities]


def test_threads_share_a_tagger(tagger: Tagger) -> None:
    alone = [without_scores(tagger(text)) for text in TEXTS]
    with ThreadPoolExecutor(8) as threads:
        assert [without_scores(found) for found in threads.map(tagger, TEXTS)] == alone
        several = threads.map(lambda n: list(tagger.pipe(TEXTS[n:])), range(4))
        for number, found in enumerate(several):
            assert list(map(without_scores, found)) == alone[number:]


def test_a_stream_yields_the_entities_of_each_sentence(tagger: Tagger) -> None:
    for text in TEXTS[:3]:
        parts = list(tagger.stream(text))
        assert len(parts) == 2
        assert [without_scores(found) for found in parts if found]
        assert without_scores([e for found in parts for e in found]) == without_scores(tagger(text))
    assert list(tagger.stream("")) == []


def test_tasks_share_a_tagger(tagger: Tagger) -> None:
    async def stream(text: str) -> list[Entity]:
        return [entity async for found in tagger.astream(text) for entity in found]

    async def main() -> list[list[Entity]]:
        return await asyncio.gather(*map(tagger.atag, TEXTS), *map(stream, TEXTS))

    alone = [without_scores(tagger(text)) for text in TEXTS]
    before = tagger.statistics
    assert list(map(without_scores, asyncio.run(main()))) == alone * 2
    after = tagger.statistics
    assert after.batches > before.batches
    assert after.tokens - before.tokens > after.batches - before.batches
    assert after.callers == after.waiting == 0


def test_a_cancelled_task_frees_its_sentences(tagger: Tagger) -> None:
    long = " ".join(TEXTS * 20)

    async def main() -> None:
        tasks = [asyncio.create_task(tagger.atag(long)) for _ in range(3)]
        first = await anext(tagger.astream(long))
        assert isinstance(first, list)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(error, asyncio.CancelledError)
            for error in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert await tagger.atag(TEXTS[0])
        while tagger.statistics.callers:
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert without_scores(tagger(TEXTS[0]))


@pytest.mark.parametrize("call", ["__call__", "stream", "pipe"])
def test_a_wrong_type_is_an_error_before_any_work(tagger: Tagger, call: str) -> None:
    with pytest.raises(TypeError, match="text"):
        getattr(tagger, call)("" if call == "pipe" else ["Ada"])
    for coroutine in (tagger.atag(["Ada"]), anext(tagger.astream(["Ada"]))):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="takes one text"):
            asyncio.run(_awaited(coroutine))


async def _awaited(coroutine: object) -> object:
    return await coroutine  # type: ignore[misc]


def test_who_waits_for_a_closed_tagger_is_told(tagger: Tagger) -> None:
    results = tagger.stream(" ".join(TEXTS))
    next(results)
    tagger.close()
    with pytest.raises(UsageError, match="closed"):
        list(results)


def test_tasks_that_wait_for_a_closed_tagger_are_told(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ner_edge.runtime.tagger.MOST_TASKS", 1)

    async def main() -> list[object]:
        tasks = [asyncio.create_task(tagger.atag(" ".join(TEXTS * 20))) for _ in range(4)]
        await asyncio.sleep(0.1)
        tagger.close()
        later = [tagger.atag("Ada"), anext(tagger.astream("Ada"))]
        return list(await asyncio.gather(*tasks, *later, return_exceptions=True))

    assert [type(error) for error in asyncio.run(main())] == [UsageError] * 6
