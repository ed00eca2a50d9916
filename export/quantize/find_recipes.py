"""Find the recipe with the least loss for a file size, or the smallest for a given loss."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from ner_edge.export.quantize.choose_types import (
    Chosen,
    check_size,
    choose_for_loss,
    choose_for_size,
    total_kl,
)
from ner_edge.export.quantize.collect_imatrix import ImatrixData
from ner_edge.export.quantize.recipe import Recipe
from ner_edge.export.quantize.sensitivity import (
    bytes_as,
    matrix_groups,
    measure_choices,
    type_families,
)
from ner_edge.gguf.file import GGUFFile
from ner_edge.gguf.imatrix import Imatrix
from ner_edge.task import Task

_ANSWERS = 80  # sentences read for each group of matrices


def find_recipes(
    model: Path,
    task: Task,
    imatrix: Imatrix,
    data: ImatrixData,
    *,
    sizes: Sequence[int] = (),
    max_losses: Sequence[float] = (),
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Recipe]:
    """Find a recipe for each of `sizes`, in bytes, and for each of `max_losses`, in millinats.

    The loss is the mean KL divergence of the automaton's decisions from those of `model`, a 16- or
    32-bit GGUF, on about 80 sentences of `data`. Takes minutes; `progress` gets the groups of
    matrices measured and their total. Raises `UsageError` if a size or loss is out of reach.
    """
    file = GGUFFile(model)
    other_bytes = file.size_bytes - sum(file.tensors[name].nbytes for name in _matrices(file))
    for size in sizes:  # before minutes of measuring
        check_size(_smallest_bytes(file), size - other_bytes)
    step = max(1, len(data.answers) // _ANSWERS)
    choices = measure_choices(
        model, task, imatrix, data.answers[::step], threads=threads, progress=progress
    )
    return [
        *(
            _recipe(f"{size / 1e6:.0f}mb", choose_for_size(choices, size - other_bytes))
            for size in sizes
        ),
        *(_recipe(f"{loss:g}mnat", choose_for_loss(choices, loss / 1000)) for loss in max_losses),
    ]


def _recipe(name: str, chosen: Chosen) -> Recipe:
    types = {tensor: choice.type for tensor, choice in chosen.items()}
    return Recipe(name, types, 1000 * total_kl(chosen))


def _matrices(file: GGUFFile) -> list[str]:
    return list(chain(*matrix_groups(file)))


def _smallest_bytes(file: GGUFFile) -> int:
    """The size of all matrices, each in the smallest of its possible types."""
    return sum(
        min(bytes_as(kind, file.tensors[name].shape) for kind in chain(*type_families(file, names)))
        for names in matrix_groups(file)
        for name in names
    )
