"""A model to evaluate, and the interface that it has once it is loaded."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ner_edge.spans import ScoredSpan
from ner_edge.task import Task


class Tagger(Protocol):
    """A loaded model."""

    @property
    def task(self) -> Task:
        """The labels and the prompt."""

    @property
    def decoder(self) -> str:
        """The decoder in use, by its command-line name."""

    @property
    def version(self) -> str:
        """The version of the decoding code; cached predictions of the same version are reused."""

    @property
    def hardware(self) -> str:
        """The hardware the timing is taken on, like `2 threads`."""

    @property
    def output(self) -> str | None:
        """The raw output from which the last entities were read; None if the decoder can only copy
        the sentence."""

    def tag_words(self, sentences: Iterable[list[str]]) -> Iterable[Sequence[ScoredSpan]]:
        """Yield the entities of each sentence, in order; an empty one is between documents."""

    def close(self) -> None:
        """Free the model."""


@dataclass(frozen=True)
class Candidate:
    """A model to evaluate: its name, its file or folder, and how to load it."""

    name: str
    path: Path
    load: Callable[[], Tagger]
    is_gguf: bool = False
    """GGUF files are also measured for memory, prompt speed and KL divergence."""
    base: Path | None = None
    """The base model, if `path` is an adapter."""
    size_bytes: int | None = None
    """Size of the weights; None means the size of `path`."""
    bits_per_weight: float | None = None
    """None means the average over the tensors of the GGUF, if it is one."""
