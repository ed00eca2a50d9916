"""The memory that is available."""

from contextlib import suppress
from pathlib import Path

from ner_edge.errors import NerEdgeError

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes usable without swapping, within the limit of a container; None if unknown.

    Source: https://docs.kernel.org/filesystems/proc.html#meminfo and
    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files.
    """
    found = []
    with suppress(OSError, ValueError, IndexError):
        line = _MEMINFO.read_text().partition("MemAvailable:")[2]
        found.append(int(line.split()[0]) * 1024)
    with suppress(OSError, ValueError, IndexError):
        limit = int((_CGROUP / "memory.max").read_text())  # or "max": no limit
        used = int((_CGROUP / "memory.current").read_text())
        statistics = (_CGROUP / "memory.stat").read_text()
        cached = int(statistics.partition("inactive_file ")[2].split()[0])  # reclaimable
        found.append(limit - used + cached)
    return min(found, default=None)


def check_memory(needed: int) -> None:
    """Raise `NerEdgeError` with both figures if fewer than `needed` bytes are available."""
    available = available_memory()
    if available is not None and available < needed:
        raise NerEdgeError(
            f"needs about {needed / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are available: "
            "close other programs"
        )
