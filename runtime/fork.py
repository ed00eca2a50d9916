"""Refuse to run llama.cpp in a process that was forked after a model was loaded: it would hang.

A fork copies the memory of a process but only one of its threads. OpenMP, which runs llama.cpp's
threads, does not notice and waits for the others, in the copied model and in any other. GPU drivers
have threads too.
"""

import os

import llama_cpp

from ner_edge.errors import UsageError

_parallel_in: int | None = None
"""The id of the process in which llama.cpp first ran several threads."""
_gpu_found_in: int | None = None
"""The id of the process in which llama.cpp first found a GPU."""


def check_not_forked(process: int) -> None:
    """Raise `UsageError` unless `process`, which loaded a model, is the id of this process."""
    if os.getpid() != process:
        raise UsageError(
            "this model was loaded before the process was forked, and a fork does not copy "
            "llama.cpp's threads: load it in the child (in the initializer of a "
            "multiprocessing.Pool, in gunicorn without --preload)"
        )


def check_threads(threads: int) -> None:
    """Raise `UsageError` if this process cannot run several `threads`.

    It cannot if it was forked from a process that ran a model on several threads.
    """
    global _parallel_in
    if threads == 1:
        return
    if _parallel_in is None:
        _parallel_in = os.getpid()
    if _parallel_in != os.getpid():
        raise UsageError(
            "the parent process has run a model on several threads, so this one cannot: pass "
            "threads=1, load no model before the fork, or start processes with "
            "multiprocessing's 'spawn'"
        )


def check_gpu(layers: int) -> None:
    """Raise `UsageError` if this process cannot run `layers` on a GPU.

    It cannot if it was forked from a process that loaded a model while there was a GPU, even one
    that ran on the CPU: finding a GPU starts its driver.
    """
    global _gpu_found_in
    if _gpu_found_in is None and llama_cpp.llama_supports_gpu_offload():
        _gpu_found_in = os.getpid()
    if layers and _gpu_found_in != os.getpid():
        raise UsageError(
            "the parent process has loaded a model, so this one cannot use the GPU: pass "
            "gpu_layers=0, load no model before the fork, or start processes with "
            "multiprocessing's 'spawn'"
        )
