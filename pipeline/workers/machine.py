"""Facts about this machine (processor, GPUs, memory) without loading torch, and a process's peak memory."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import psutil

from ..errors import DeviceError
from ..pictures.limits import ReadLimits
from ..settings import Settings

SMI_SECONDS = 30  # that the driver of a GPU is given to answer
CUBLAS, SAME_PRODUCTS = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"  # without which products differ from run to run
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of the container this process runs in; "max" for none


def machine_memory() -> int:
    """Return the memory of this machine, or of the container where that may take less, bytes."""
    total = int(psutil.virtual_memory().total)
    limit = CGROUP_LIMIT.read_text().strip() if CGROUP_LIMIT.exists() else "max"
    return total if limit == "max" else min(total, int(limit))


def budget(settings: Settings) -> int:
    """Return the memory that pictures and canvases may take on this machine, bytes."""
    return settings.memory or machine_memory() // 4


def reading_limits(settings: Settings, folder: Path | None = None) -> ReadLimits:
    """Return what reading a picture may take; one that takes more than half the budget is filed in a folder, if given.

    The other half is for the workers.
    """
    memory = budget(settings)
    return ReadLimits(settings.max_pixels, None if folder is None else memory // 2, folder, memory)


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


def cpu_name() -> str:
    """Return the processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def visible_gpus() -> list[str]:
    """List the CUDA devices this process may use, without loading torch; none where it was built without CUDA."""
    if version("torch").endswith("+cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return _nvidia_smi("--query-gpu=index", "--format=csv,noheader")


def gpu_memory(gpus: Sequence[str]) -> int | None:
    """Return the least memory that is free on any of some GPUs, bytes, without loading torch; None if unknown."""
    query = (f"--id={','.join(gpus)}", "--query-gpu=memory.free", "--format=csv,noheader,nounits")
    free = _nvidia_smi(*query) if gpus else []
    return min(map(int, free)) << 20 if free and all(map(str.isdecimal, free)) else None


def _nvidia_smi(*query: str) -> list[str]:
    """What NVIDIA's driver answers, word by word; nothing without one. Raises `DeviceError` if it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        found = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, timeout=SMI_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"nvidia-smi did not answer within {SMI_SECONDS} s, wanted to know which GPUs there are; see whether it "
            "works by itself, or paint with --device cpu"
        ) from error
    return found.stdout.split() if found.returncode == 0 else []


def has_metal() -> bool:
    """Say whether this is a Mac with a GPU that torch computes on."""
    return (platform.system(), platform.machine()) == ("Darwin", "arm64")
