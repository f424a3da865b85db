"""How much memory a process took."""

import resource
import sys
from pathlib import Path


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
