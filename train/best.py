"""The best adapter of a run, by its dev score at the checkpoints."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ner_edge.train.checkpoint import adapter_weights
from ner_edge.train.recover import Rounding


class BestAdapter:
    """Keeps a copy of the adapter for which `measure` returned the highest score so far."""

    def __init__(self, measure: Callable[[], float]) -> None:
        self._measure = measure
        self._weights: dict[str, torch.Tensor] = {}
        self.score = -1.0
        self.step = 0
        """The number of optimizer steps that led to it."""

    def consider(self, model: Any, step: int, rounding: Rounding | None) -> None:
        """Measure the adapter of `model`, and keep a copy if it is the best so far.

        With a `rounding`, it is measured with the weights rounded for this very adapter.
        """
        adapter = rounding.adapter if rounding else None
        if rounding:
            rounding.refresh(model)
        model.eval()
        score = self._measure()
        model.train()
        if rounding:  # training goes on as if nothing had been measured
            rounding.refresh(model, adapter)
        if score > self.score:
            self.score, self.step = score, step
            self._weights = {
                name: weight.detach().cpu().clone()
                for name, weight in adapter_weights(model).items()
            }

    def restore(self, model: Any) -> None:
        """Give `model` the best adapter."""
        with torch.no_grad():
            for name, weight in adapter_weights(model).items():
                weight.copy_(self._weights[name])

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint stores."""
        return {"score": self.score, "step": self.step, "weights": self._weights}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.score, self.step, self._weights = state["score"], state["step"], state["weights"]
