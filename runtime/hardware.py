"""The processors and GPUs that a model runs on."""

import os
from pathlib import Path

import llama_cpp

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


def default_gpu_layers() -> int:
    """Return all layers if llama.cpp was built for a GPU, else 0."""
    return ALL_LAYERS if llama_cpp.llama_supports_gpu_offload() else 0


def describe_hardware(threads: int, gpu_layers: int) -> str:
    """Return what a model runs on: `2 threads`, `1 thread and 12 layers on a GPU`."""
    hardware = f"{threads} thread{'' if threads == 1 else 's'}"
    if gpu_layers and llama_cpp.llama_supports_gpu_offload():
        layers = "" if gpu_layers == ALL_LAYERS else f"{gpu_layers} layers on "
        hardware += f" and {layers}a GPU"
    return hardware
