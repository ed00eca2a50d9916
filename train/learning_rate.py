"""The learning rate: a linear warm-up, then a cosine to zero."""

import math
import time

from ner_edge.train.settings import TrainSettings


class LearningRate:
    """The learning rate of each of `steps` steps.

    With a `deadline`, in seconds of `time.monotonic`, it falls with the time where that is ahead of
    the steps, so that a run that the deadline ends has cooled down.
    """

    def __init__(self, settings: TrainSettings, steps: int, deadline: float | None = None) -> None:
        self._settings = settings
        self._steps = steps
        self._deadline = deadline
        self._began = time.monotonic()

    def of_step(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0, if it is made now."""
        if self._deadline is not None:
            spent = (time.monotonic() - self._began) / max(self._deadline - self._began, 1e-9)
            step = min(self._steps, max(step, int(self._steps * spent)))
        warmup = math.ceil(self._steps * self._settings.warmup_ratio)
        if step < warmup:
            return self._settings.learning_rate * (step + 1) / warmup
        share = (step - warmup) / max(1, self._steps - warmup)
        return self._settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))
