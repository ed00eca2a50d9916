"""A request for an export: the files to write, their folder, and the settings."""

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from pathlib import Path

from ner_edge.errors import UsageError
from ner_edge.export.quantize.collect_imatrix import ImatrixData
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.quantize.types import QUANTS, Quant, parse_quants
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.task import Task


@dataclass(frozen=True)
class ExportRequest:
    """The model files to write into one folder: `{name}-{type}.gguf` for each quantization type,
    `{name}-{recipe}.gguf` for each recipe.

    Raises `UsageError` if a type is unknown, an importance matrix or its sentences are missing, or
    the name is a path.
    """

    folder: Path
    quants: Sequence[str] = ()
    """Names of quantization types; q8_0 if neither a type nor a recipe is asked for."""
    _: KW_ONLY
    name: str | None = None
    """None means the name of the adapter, or else of the base."""
    task: Task | None = None
    """The task to embed; None means the one saved beside the adapter or model, or in the base."""
    imatrix: Imatrix | ImatrixData | None = None
    """The importance matrix that weights rounding errors, or sentences to collect one from. A
    collected matrix is written beside the files."""
    recipes: Sequence[Recipe] = ()
    sizes: Sequence[int] = ()
    """For each size in bytes, find the recipe with the least loss."""
    max_losses: Sequence[float] = ()
    """For each loss in millinats of KL divergence per decision, find the smallest recipe."""
    card: bool = False
    """Write a Markdown model card."""
    modelfile: bool = False
    """Write an Ollama Modelfile for each file."""
    threads: int | None = None
    """None means all."""
    inputs: Sequence[Path] = ()
    """Files that the caller has read; no file is written over them."""

    def __post_init__(self) -> None:
        if self.name is not None and Path(self.name).name != self.name:
            raise UsageError(f"--name '{self.name}' must not contain a path")
        for flag, values in (("--size", self.sizes), ("--max-loss", self.max_losses)):
            if values and not isinstance(self.imatrix, ImatrixData):
                raise UsageError(
                    f"{flag} measures the decisions on labelled sentences: give them with --imatrix"
                )
        _ = self.types  # raises if one is unknown

    @cached_property
    def types(self) -> list[Quant]:
        """The quantization types of `quants`."""
        if not self.quants and not self.recipe_count:
            return [QUANTS["q8_0"]]
        return parse_quants(self.quants, has_imatrix=self.imatrix is not None)

    @property
    def recipe_count(self) -> int:
        """The number of files with a recipe, whether given or still to be found."""
        return len(self.recipes) + len(self.sizes) + len(self.max_losses)

    @property
    def workers(self) -> int:
        """The number of threads, at least 1."""
        return self.threads or os.cpu_count() or 1
