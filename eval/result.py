"""The figures of one model."""

from dataclasses import dataclass, field
from pathlib import Path

from ner_edge.eval.agreement import Agreement
from ner_edge.eval.calibration import Calibration
from ner_edge.eval.cost import Cost
from ner_edge.eval.metrics import Metrics
from ner_edge.eval.unconstrained import OutputFaults
from ner_edge.spans import Span


@dataclass(frozen=True)
class ModelResult:
    """One model's predictions and scores; for predictions from a file, the rest is None."""

    name: str
    path: Path
    metrics: Metrics
    predictions: list[list[Span]] = field(repr=False)
    notes: list[str]
    """Messages for the reader of the figures."""
    calibration: Calibration | None = field(default=None, repr=False)
    """None unless every entity has a score."""
    decoder: str | None = None
    hardware: str | None = None
    seconds: float | None = None
    """Decoding time without loading, summed over all runs of a resumed evaluation; None if some
    predictions were made on other hardware."""
    size_bytes: int | None = None
    bits_per_weight: float | None = None
    """Average over all tensors."""
    faults: OutputFaults | None = None
    """None for constrained decoding, which has none."""
    cost: Cost | None = None
    agreement: Agreement | None = None
    """With the baseline's decisions; None for the baseline."""

    @property
    def f1(self) -> float:
        """Strict micro F1 in percent."""
        return self.metrics.micro.f1

    @property
    def misaligned(self) -> int:
        """The number of outputs that are malformed or change the sentence's words."""
        return self.faults.misaligned if self.faults else 0

    @property
    def sentences_per_second(self) -> float | None:
        """Decoding speed."""
        return None if self.seconds is None else len(self.predictions) / max(self.seconds, 1e-9)
