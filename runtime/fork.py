"""Processes that were forked while a model was loaded, where llama.cpp would wait for ever.

A fork copies the memory of a process but only one of its threads. OpenMP, which llama.cpp runs its
threads by, does not notice, and waits for the others: with the copied model, and with any other.
"""

import os

from ner_edge.errors import UsageError

_parallel_in: int | None = None
"""The process in which llama.cpp first ran several threads."""


def check_not_forked(process: int) -> None:
    """Raise `UsageError` unless this is the process with that id, which loaded a model."""
    if os.getpid() != process:
        raise UsageError(
            "this model was loaded before the process was forked, and a fork does not copy "
            "llama.cpp's threads: load it in the child (in the initializer of a "
            "multiprocessing.Pool, in gunicorn without --preload)"
        )


def check_threads(threads: int) -> None:
    """Raise `UsageError` if so many `threads` cannot run here, since several ran in the process
    that this one was forked from."""
    global _parallel_in
    if threads == 1:
        return
    if _parallel_in is None:
        _parallel_in = os.getpid()
    if _parallel_in != os.getpid():
        raise UsageError(
            "the parent process has run a model on several threads, so that none can here: pass "
            "threads=1, load no model before the fork, or start processes with "
            "multiprocessing's 'spawn'"
        )
