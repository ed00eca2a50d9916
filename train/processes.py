"""The processes of a run, started by `torchrun`; each takes its share of every batch."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard


def join_processes() -> torch.device:
    """Join the torchrun process group, if there is one; return the device of this process."""
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    _, world = rank_and_world()
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")


def rank_and_world() -> tuple[int, int]:
    """Return the rank of this process and the number of processes, as torchrun sets them."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ.get("RANK", "0")), world) if world > 1 else (0, 1)


def is_main_process() -> bool:
    """Whether this is the process that prints and writes files."""
    return rank_and_world()[0] == 0


def sum_over_processes(weights: Sequence[torch.Tensor], total: torch.Tensor) -> None:
    """Sum the gradients of `weights` and the numbers `total` over all processes, in place."""
    gradients = [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights]
    parts = [gradient.flatten() for gradient in gradients]
    flat = torch.cat([*parts, total.to(parts[0].device)])
    dist.all_reduce(flat)
    sums = flat.split([weight.numel() for weight in weights] + [len(total)])
    for weight, part in zip(weights, sums, strict=False):
        weight.grad = part.view_as(weight)
    total.copy_(sums[-1])


def shard_base(model: Any, device: torch.device) -> None:
    """Split the frozen layers of a peft model among the processes, on `device`; each layer is
    gathered while it is in use (FSDP, Zhao et al. 2023).

    Adapter, embeddings and head stay whole: every process trains the same adapter, and the loss
    reads the head in chunks of its own.
    """
    trunk = model.get_base_model().model
    frozen = {w for layer in trunk.layers for w in layer.parameters() if not w.requires_grad}
    whole = {weight for weight in model.parameters() if weight not in frozen}
    tensors: Iterable[torch.Tensor] = [*whole, *model.buffers()]
    for tensor in tensors:
        tensor.data = tensor.data.to(device)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in [*trunk.layers, trunk]:
        fully_shard(layer, mesh=mesh, ignored_params=whole, reshard_after_forward=True)
