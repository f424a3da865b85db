"""How much memory there is, how much of it may be used, and how much a process took."""

import resource
import sys
from pathlib import Path

import psutil

from ..settings import Settings

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of the container this process runs in; "max" for none


def machine_memory() -> int:
    """Return the memory of this machine, or of the container where that may take less, bytes."""
    total = int(psutil.virtual_memory().total)
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))


def budget(settings: Settings) -> int:
    """Return the memory that pictures and canvases may take on this machine, bytes."""
    return settings.memory or machine_memory() // 4


def peak_rss() -> int:
    """Return the largest resident memory of this process so far, bytes.

    On Linux from the kernel's account of this program; `getrusage` there also counts what the parent held when it
    started this process.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
