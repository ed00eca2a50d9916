"""Training checkpoints, from which a killed run continues as if it had never stopped."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import ModelError, NerEdgeError, UsageError, first_line
from ner_edge.files.atomic import atomic_path

CHECKPOINT_FILE = "checkpoint.pt"


def adapter_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the trained tensors of `model` by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Replace the checkpoint in `folder` by adapter, optimizer and `state` (plain values)."""
    contents = {
        "adapter": adapter_weights(model),
        "optimizer": optimizer.state_dict(),
        "state": state,
    }
    with atomic_path(folder / CHECKPOINT_FILE) as path, path.open("wb") as file:
        try:
            torch.save(contents, file)
        except RuntimeError as error:  # its context, an OSError, has the reason
            raise error.__context__ or error from None


def is_checkpoint(path: Path) -> bool:
    """Whether `save_checkpoint` wrote this file; reads little of it."""
    try:
        with _explained(path):
            return _load(path, mmap=True).keys() == {"adapter", "optimizer", "state"}
    except ModelError:
        return False


def check_checkpoint(folder: Path, settings: dict[str, Any]) -> None:
    """Raise the errors that `load_checkpoint` would raise, without reading the weights."""
    path = folder / CHECKPOINT_FILE
    if os.path.lexists(path):
        with _explained(path):
            _read(path, settings, mmap=True)


def load_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
) -> dict[str, Any] | None:
    """Restore `model` and `optimizer` in place and return the state, or None without a checkpoint.

    Raises `UsageError` if the checkpoint was made with other `settings`, `ModelError` if it cannot
    be read.
    """
    path = folder / CHECKPOINT_FILE
    if not os.path.lexists(path):
        return None
    with _explained(path):
        contents = _read(path, settings)
        weights = adapter_weights(model)
        if contents["adapter"].keys() != weights.keys():
            raise KeyError("different layers")
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(contents["adapter"][name])
        optimizer.load_state_dict(contents["optimizer"])
        state: dict[str, Any] = contents["state"]
        return state


def _read(path: Path, settings: dict[str, Any], mmap: bool = False) -> dict[str, Any]:
    contents = _load(path, mmap)
    then = contents["state"]["settings"]
    changed = [key for key, now in settings.items() if then.get(key, now) != now]
    if changed:
        raise UsageError(
            f"--resume: the checkpoint in {path.parent} was made with a different "
            f"{', '.join(changed)}"
        )
    return contents


def _load(path: Path, mmap: bool) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError("not a file")
    contents = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
    if not isinstance(contents, dict):
        raise ValueError("unexpected contents")
    return contents


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except NerEdgeError:
        raise
    except Exception as error:  # torch and pickle raise anything on a damaged file
        raise ModelError(
            f"{path}: not a checkpoint of this run ({first_line(error)}); remove it to start over"
        ) from error
