"""A Ray cluster of several nodes on this machine, whose workers and nodes can be killed."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class LocalCluster:
    """Nodes with one CPU each; the first is the head, to which drivers connect."""

    def __init__(self, nodes: int) -> None:
        from ray.cluster_utils import Cluster

        self._settings: dict[str, Any] = {
            "num_cpus": 1,
            "object_store_memory": 100_000_000,
            "include_dashboard": False,
        }
        self._cluster = Cluster()
        # Notice in seconds, not in a minute, that a node is gone.
        checks = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
        self._add_node(_system_config=checks)
        self._others = [self._add_node() for _ in range(nodes - 1)]
        self.address = str(self._cluster.address)

    def _add_node(self, **others: Any) -> Any:
        for _ in range(4):
            with suppress(Exception):  # on a busy machine a node takes longer than Ray waits for it
                return self._cluster.add_node(**self._settings, **others)
        return self._cluster.add_node(**self._settings, **others)

    def workers(self) -> list[int]:
        """Return the processes of the workers of bulk that are making a part."""
        raylets = {
            info.process.pid
            for node in self._cluster.list_all_nodes()
            for info in node.all_processes.get("raylet", [])
        }
        return [pid for pid in _processes() if _parent(pid) in raylets and _is_worker(pid)]

    def kill_worker(self, choose: int) -> bool:
        """Kill one of the workers with SIGKILL; return whether there was one."""
        workers = sorted(self.workers())
        if workers:
            with suppress(ProcessLookupError):
                os.kill(workers[choose % len(workers)], signal.SIGKILL)
        return bool(workers)

    def remove_node(self) -> None:
        """Remove a node with all its processes, as a machine that fails."""
        self._cluster.remove_node(self._others.pop(), allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def local_cluster(nodes: int) -> Iterator[LocalCluster]:
    """Yield a cluster, which is shut down at the end."""
    cluster = LocalCluster(nodes)
    try:
        yield cluster
    finally:
        cluster.close()


def _processes() -> Iterator[int]:
    yield from (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _parent(pid: int) -> int:
    return int(_read(pid, "stat").rpartition(")")[2].split()[1] if _read(pid, "stat") else 0)


def _is_worker(pid: int) -> bool:
    return re.match(r"ray::MapWorker.*\.submit", _read(pid, "cmdline")) is not None


def parts_in(folder: Path) -> dict[str, Any]:
    """Return the content of each part's file by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!_.]*"))}
