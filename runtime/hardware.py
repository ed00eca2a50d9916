"""The processors and GPUs that a model runs on."""

import os
import warnings
from pathlib import Path

import llama_cpp

from ner_edge.errors import NerEdgeWarning

ALL_LAYERS = 999  # more than any model has


def physical_cores() -> int:
    """Return the number of cores this process may use; on Linux, hyper-threads do not count."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed is None:
        return max(1, (os.cpu_count() or 2) // 2)
    siblings = set()
    for cpu in allowed:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)


def usable_gpu_layers(requested: int | None) -> int:
    """Return how many layers run on a GPU: those requested, by default all; 0 without a GPU.

    Warns if layers were requested but llama.cpp finds no GPU.
    """
    if llama_cpp.llama_supports_gpu_offload():
        return ALL_LAYERS if requested is None else requested
    if requested:
        warnings.warn(
            f"--gpu-layers {requested} has no effect: llama.cpp was built without GPU support or "
            "finds no GPU (see docs/gpu.md)",
            NerEdgeWarning,
            stacklevel=2,
        )
    return 0


def describe_hardware(threads: int, gpu_layers: int) -> str:
    """Return what a model runs on: `2 threads`, `1 thread and 12 layers on a GPU`."""
    hardware = f"{threads} thread{'' if threads == 1 else 's'}"
    if gpu_layers:
        layers = "" if gpu_layers == ALL_LAYERS else f"{gpu_layers} layers on "
        hardware += f" and {layers}a GPU"
    return hardware
