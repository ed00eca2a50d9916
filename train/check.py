"""The outcome of one check before a training run."""

from collections.abc import Sequence
from dataclasses import dataclass

from ner_edge.errors import NerEdgeError


@dataclass(frozen=True)
class Check:
    """One line of the preflight; an `error` stops the run, `details` are shown by `--dry-run`."""

    name: str
    text: str
    ok: bool = True
    details: Sequence[str] = ()
    error: NerEdgeError | None = None

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.name:<8}  {self.text}"
