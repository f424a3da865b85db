"""Sampling of a running command: memory of its processes, and the size of the folder it works in."""

import os
import subprocess
import time
from pathlib import Path

import psutil


def resident(process: psutil.Process) -> int:
    """Resident memory, bytes; 0 of a process that has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder that is being worked in."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue
    return total


def look(process: psutil.Process, scratch: Path) -> dict[str, int]:
    """Sample memory and disk once, bytes."""
    driver = resident(process)
    try:
        workers = [resident(child) for child in process.children(recursive=True)]
    except psutil.NoSuchProcess:
        workers = []
    together = driver + sum(workers)
    return {"driver": driver, "worker": max(workers, default=0), "together": together, "disk": size_of(scratch)}


def watch(command: list[str], scratch: Path, interval: float) -> dict[str, int]:
    """Run a command and return the largest of all samples."""
    peaks = {"driver": 0, "worker": 0, "together": 0, "disk": 0}
    process = psutil.Popen(command)
    while process.poll() is None:
        peaks = {name: max(peaks[name], value) for name, value in look(process, scratch).items()}
        time.sleep(interval)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peaks
