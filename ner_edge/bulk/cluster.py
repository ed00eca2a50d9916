"""Ray, started on this machine or found on a cluster, and how many workers fit on it."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from ner_edge.errors import NerEdgeError, UsageError, first_line
from ner_edge.runtime.hardware import physical_cores

THREADS = 1
"""The threads of a worker, as long as there is memory for a worker per core. LOG.md has timings."""
_OBJECT_STORE = 100_000_000  # bytes: parts and results pass as names and counts
_PATIENCE = 10  # seconds
_PRIVATE_MEMORY = 500_000_000  # bytes of a worker, besides the model


class Arrangement(NamedTuple):
    """How the workers share the machines."""

    workers: int
    threads: int
    """Of each worker."""
    memory: int
    """Of each worker, in bytes."""
    gpus: float = 0
    """The share of a GPU that each worker has."""


class Wishes(NamedTuple):
    """What a user asks for; None leaves it to `arrange`."""

    workers: int | None = None
    threads: int | None = None
    memory: int | None = None
    gpus: float | None = None


def check_installed() -> None:
    """Raise `ImportError` if Ray is missing, without the seconds that importing it takes."""
    if find_spec("ray") is None:
        raise ModuleNotFoundError("No module named 'ray'", name="ray")


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Run Ray on this machine only, or join the cluster at an address, until the end.

    If this process uses Ray already, its session is used and goes on. Raises `NerEdgeError` if
    there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Without this, a thread of Ray Data that ends late would start Ray again.
    os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    loggers = logging.getLogger("ray.data")
    loggers.handlers = [h for h in loggers.handlers if not isinstance(h, logging.StreamHandler)]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        # Ray prints to standard output that it repeats what a dead worker did.
        if ray.is_initialized():
            yield
        else:
            with _started(address):
                yield


@contextmanager
def _started(address: str | None) -> Iterator[None]:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address is None:
        quiet |= {
            "num_cpus": physical_cores(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_node_ip_address": "127.0.0.1",  # so that nobody else can reach it
        }
    if address is not None:
        _check_answers(address)
    try:
        with _native_messages_hidden():
            ray.init(address or "local", **quiet)
    except Exception as error:  # Ray raises whatever it likes, even plain `Exception`
        where = f"--address {address}: " if address else ""
        raise NerEdgeError(f"{where}Ray does not start: {first_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise `NerEdgeError` if nothing answers at a `HOST:PORT`, for which Ray waits in silence."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():  # such as `auto`
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise NerEdgeError(
            f"--address {address}: no Ray cluster answers ({reason}); "
            "give the address that `ray start --head` printed"
        ) from None


@contextmanager
def _native_messages_hidden() -> Iterator[None]:
    """Hide what Ray's native code prints when it starts; errors come as exceptions."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def machines() -> list[Mapping[str, float]]:
    """Return the resources of each machine of the session: `CPU`, `GPU`, and `memory` in bytes."""
    import ray

    nodes: Any = ray.nodes  # untyped
    return [node["Resources"] for node in nodes() if node["Alive"]]


def arrange(
    nodes: Sequence[Mapping[str, float]], wishes: Wishes, model_size: int, parts: int, *, gpu: bool
) -> Arrangement:
    """Return an arrangement that fills the machines, as far as the wishes leave it open.

    There are no more workers than parts. With `gpu`, llama.cpp was built for one. Raises
    `UsageError` if the wishes do not fit.
    """
    memory = wishes.memory or model_size + _PRIVATE_MEMORY
    gpus = wishes.gpus if wishes.gpus is not None else float(gpu)
    threads = wishes.threads or THREADS
    fitting = _fitting(nodes, threads, memory, gpus)
    if not 0 < (wishes.workers or 1) <= fitting:
        share = f", {gpus:g} GPUs" if gpus else ""
        raise UsageError(
            f"only {fitting} workers with {threads} threads, {memory / 1e6:.0f} MB{share} each fit "
            f"on {_described(nodes)}; set --workers, --threads, --memory or --gpus"
        )
    workers = min(wishes.workers or fitting, parts)
    if wishes.threads is None and not gpus:
        # Memory is short, or there are few parts: workers take the other cores as threads.
        threads = max(threads, sum(int(node.get("CPU", 0)) for node in nodes) // workers)
        while _fitting(nodes, threads, memory, gpus) < workers:
            threads -= 1
    return Arrangement(workers, threads, memory, gpus)


def _fitting(nodes: Sequence[Mapping[str, float]], threads: int, memory: int, gpus: float) -> int:
    wanted = {"CPU": threads, "memory": memory, "GPU": gpus}
    needed = {name: amount for name, amount in wanted.items() if amount}
    return sum(
        int(min(node.get(name, 0) // amount for name, amount in needed.items())) for node in nodes
    )


def _described(nodes: Sequence[Mapping[str, float]]) -> str:
    cores = sum(int(node.get("CPU", 0)) for node in nodes)
    memory = sum(node.get("memory", 0) for node in nodes)
    gpus = sum(node.get("GPU", 0) for node in nodes)
    share = f" and {gpus:g} GPUs" if gpus else ""
    return f"{cores} cores with {memory / 1e6:.0f} MB{share}"
