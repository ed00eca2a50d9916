"""Training checkpoints: all that a killed run needs to go on as if nothing had happened."""

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ner_edge.errors import ModelError, UsageError

CHECKPOINT_FILE = "checkpoint.pt"


def adapter_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The trained tensors of `model` by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def save_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Write adapter, optimizer and `state` (plain values) in one step, replacing the last."""
    temporary = folder / (CHECKPOINT_FILE + ".tmp")
    contents = {
        "adapter": adapter_weights(model),
        "optimizer": optimizer.state_dict(),
        "state": state,
    }
    torch.save(contents, temporary)
    os.replace(temporary, folder / CHECKPOINT_FILE)


def check_checkpoint(folder: Path, settings: dict[str, Any]) -> None:
    """Would `load_checkpoint` refuse what is in `folder`? Raises the same errors, and reads little.

    The weights themselves are not compared.
    """
    path = folder / CHECKPOINT_FILE
    if path.is_file():
        with _explained(path):
            _read(path, settings, mmap=True)


def load_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: dict[str, Any],
) -> dict[str, Any] | None:
    """Restore `model` and `optimizer` in place and return the state; None without a checkpoint.

    Raises `UsageError` if the state's `settings` are not the same as `settings`, `ModelError` if
    the checkpoint cannot be read.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    with _explained(path):
        contents = _read(path, settings)
        weights = adapter_weights(model)
        if contents["adapter"].keys() != weights.keys():
            raise KeyError("other layers")
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(contents["adapter"][name])
        optimizer.load_state_dict(contents["optimizer"])
        state: dict[str, Any] = contents["state"]
        return state


def _read(path: Path, settings: dict[str, Any], mmap: bool = False) -> dict[str, Any]:
    contents: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
    then = contents["state"]["settings"]
    changed = [key for key, now in settings.items() if then.get(key, now) != now]
    if changed:
        raise UsageError(
            f"--resume: the checkpoint in {path.parent} was made with another {', '.join(changed)}"
        )
    return contents


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{path}: not a checkpoint of this run ({reason}); remove it to start anew"
        ) from error
