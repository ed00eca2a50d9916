"""A tagger that is loaded on first use, in each process that uses it."""

import os
from collections import defaultdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ner_edge.tagger import Tagger


class LazyTagger:
    """Loads a model on first use, for libraries that copy components to other processes.

    A process that was forked after the model was loaded loads it again, on one thread of the CPU,
    because a fork can use neither several threads nor a GPU. A pickled copy contains only the
    settings.
    """

    def __init__(self, model: str | Path | None, min_score: float, threads: int | None) -> None:
        self._model = model
        self._min_score = min_score
        self._threads = threads
        self._tagger_of: dict[int, Tagger] = {}  # by process id
        self._lock_of: defaultdict[int, Lock] = defaultdict(Lock)

    def __reduce__(self) -> tuple[object, ...]:
        return LazyTagger, (self._model, self._min_score, self._threads)

    @property
    def path(self) -> Path:
        """The model file. The default model is built on first use."""
        from ner_edge.builtin import resolve_model

        return self._model if isinstance(self._model, Path) else resolve_model(self._model)

    def with_model(self, path: Path) -> "LazyTagger":
        """Return a lazy tagger with the same settings and another model file."""
        return LazyTagger(path, self._min_score, self._threads)

    def get(self) -> "Tagger":
        """Return the tagger of this process. Raises `ModelError` and `UsageError`."""
        from ner_edge.tagger import Tagger

        process = os.getpid()
        with self._lock_of[process]:
            if process not in self._tagger_of:
                if self._tagger_of:  # in the parent process
                    tagger = Tagger.load(self.path, threads=1, gpu_layers=0)
                else:
                    tagger = Tagger.load(self.path, threads=self._threads)
                tagger.min_score = self._min_score
                self._tagger_of[process] = tagger
            return self._tagger_of[process]
