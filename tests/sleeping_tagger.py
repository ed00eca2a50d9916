"""A tagger of fixed cost, which workers of Ray load in place of a model."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stub_tagger import StubTagger

from ner_edge.runtime.tagger import Entity


class SleepingTagger(StubTagger):
    """Sleeps as long as a model would compute, and finds what `StubTagger` finds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def pipe(self, texts: Iterable[str], *, document: bool = False) -> Iterator[list[Entity]]:
        for text in texts:
            time.sleep(self._seconds)
            yield from super().pipe([text])


class LoadSleeping(NamedTuple):
    """Loads a tagger that sleeps for so many seconds per text."""

    seconds: float

    def __call__(self) -> Any:
        return SleepingTagger(self.seconds)


class LoadTogether(NamedTuple):
    """Loads a tagger that sleeps, once so many workers load one, so that all begin together."""

    seconds: float
    workers: int
    folder: Path

    def __call__(self) -> Any:
        (self.folder / str(os.getpid())).touch()
        while len(list(self.folder.iterdir())) < self.workers:
            time.sleep(0.01)
        return SleepingTagger(self.seconds)
